"""Rewrites an operation into migration files that don't block reads and writes for long.

Recipes are pure: they go by the operation and by the statements that it makes, so they cover all
of them, or none. What the findings print and what ``confiture_fix`` writes comes from here.
"""
