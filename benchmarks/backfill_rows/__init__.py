"""The app of benchmarks/backfill.py."""
