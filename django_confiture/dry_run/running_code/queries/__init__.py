"""Production's most frequent queries, prepared before and after each migration."""
