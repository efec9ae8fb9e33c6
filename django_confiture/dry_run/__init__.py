"""The dry run: runs pending migrations for real, measures them, and rolls everything back."""
