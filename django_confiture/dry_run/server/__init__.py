"""Sessions on the server, and the drivers that lead to them."""
