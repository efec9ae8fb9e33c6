"""What a backfill's class declares, and whether it has changed since a run began."""
