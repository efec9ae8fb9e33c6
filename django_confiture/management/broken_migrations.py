"""The errors of migration files that do not fit together, which Django raises as it loads them."""

from __future__ import annotations

from django.db.migrations import exceptions

BROKEN_MIGRATIONS = (
    exceptions.BadMigrationError,
    exceptions.CircularDependencyError,
    exceptions.InconsistentMigrationHistory,
    exceptions.NodeNotFoundError,
)
