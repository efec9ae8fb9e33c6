"""What keeps rows right: transactions that end with a lease, the mirror trigger, row security."""
