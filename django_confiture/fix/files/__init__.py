"""Migration files: read as their authors wrote them, composed, and written."""
