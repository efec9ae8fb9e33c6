"""Reads a schema's definitions and the versions of its rows, and compares two readings."""
