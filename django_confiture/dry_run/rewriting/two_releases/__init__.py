"""Removals and renames over two releases: the models change now, the database later."""
