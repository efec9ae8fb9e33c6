"""What to do instead, as code that can be pasted."""
