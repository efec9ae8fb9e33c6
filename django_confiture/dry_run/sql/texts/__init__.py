"""Statements written from statements: in batches, under other names, without values."""
