"""What is recorded while migrations run: statements, and the rows that stand in their way."""
