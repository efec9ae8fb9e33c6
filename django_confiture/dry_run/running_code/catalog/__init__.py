"""Tables as the server's catalogs describe them, and rows that are made with that alone."""
