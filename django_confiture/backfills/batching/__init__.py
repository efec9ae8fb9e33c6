"""One batch: its size, its rows, and how they are written."""
