"""A real ``migrate``: hooks woven around its migrations, and its timeouts."""
