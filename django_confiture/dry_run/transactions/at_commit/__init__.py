"""What a COMMIT does besides committing."""
