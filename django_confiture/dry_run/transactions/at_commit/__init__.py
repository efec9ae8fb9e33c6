"""Side effects of a COMMIT that a rehearsed one has to imitate."""
