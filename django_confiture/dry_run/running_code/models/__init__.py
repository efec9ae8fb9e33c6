"""A release's models: which a plan can break, and what it touches of their tables."""
