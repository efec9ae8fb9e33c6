"""Runs what the old and the new models do on the schema that each will meet."""
