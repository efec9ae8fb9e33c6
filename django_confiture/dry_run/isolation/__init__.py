"""Keeps the dry run apart from other aliases, connections, threads and sessions."""
