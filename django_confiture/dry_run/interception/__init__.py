"""Catches the statements of a connection, and decides what is sent in their place."""
