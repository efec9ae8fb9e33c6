"""Rehearses the original migration and the files that replace it, and compares what they leave."""
