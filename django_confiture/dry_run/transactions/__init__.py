"""Transactions of the migrations: rehearsed with savepoints, or real ones on a clone."""
