"""Whether the schema is the one that the models would make, and how it differs if not."""
