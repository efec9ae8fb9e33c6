"""Who blocks a migration and whom it blocks: watched, logged, and given way to."""
