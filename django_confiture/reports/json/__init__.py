"""The report for programs, and its JSON Schema."""
