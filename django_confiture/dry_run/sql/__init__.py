"""SQL texts: parsed, classified, rewritten, redacted."""
