"""Hooks: their base class, their registry, and their executor."""
