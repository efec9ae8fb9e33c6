"""The rules: which statements and migrations hurt, and how."""
