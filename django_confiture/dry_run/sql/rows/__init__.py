"""What a statement does with rows: what it compares, may do twice, what no rollback holds."""
