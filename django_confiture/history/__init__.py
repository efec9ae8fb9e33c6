"""An optional app: what migrations and their hooks really did, and what was forecast of them."""
