"""The sessions of a ``migrate``, and what stands between them and the server."""
