"""A real ``migrate``: hooks around its migrations, timeouts, retries, giving way, resuming."""
