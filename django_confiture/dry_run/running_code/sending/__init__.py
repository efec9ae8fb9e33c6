"""Sends what a release's ORM sends, in few round trips, and leaves nothing of it."""
