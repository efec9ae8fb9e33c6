"""Records what runs during a migration: its statements, their effects, and offending rows."""
