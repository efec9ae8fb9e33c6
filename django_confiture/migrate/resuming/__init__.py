"""A non-atomic migration goes on where it was cut off."""
