"""One ``migrate`` of a database at a time."""
