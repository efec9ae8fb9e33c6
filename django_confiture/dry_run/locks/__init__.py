"""Lock modes, and the locks that a statement takes by PostgreSQL's rules."""
