"""SQL texts parsed, classified, changed and written back; the only door to the parser."""
