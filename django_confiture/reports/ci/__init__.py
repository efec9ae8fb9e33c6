"""The report as annotations of CI systems."""
