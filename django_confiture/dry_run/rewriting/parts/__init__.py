"""What statements of a schema change are split into: parts that lock, parts that take time."""
