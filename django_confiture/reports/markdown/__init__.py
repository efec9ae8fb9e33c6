"""The report for a pull request."""
