"""The plan before it runs: what it will touch, and why it may be refused."""
