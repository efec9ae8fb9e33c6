"""What becomes of each operation: which recipe rewrites it, or why none does."""
