"""The code of a RunPython, as batches that commit one by one: updates and loops over rows."""
