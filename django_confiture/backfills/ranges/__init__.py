"""The keys of a table, split into ranges that workers lease, and passes over them."""
