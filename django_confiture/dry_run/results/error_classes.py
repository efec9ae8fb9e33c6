"""Errors that say nothing about a migration: the server, or a limit of ours, ended the dry run."""

from __future__ import annotations

import psycopg
from psycopg import errors

from django_confiture.exceptions import DryRunStopped

_CLASSES = ("08", "53", "57P", "58")
"""SQLSTATEs: connections, resources such as the disk, the server's end, the system's errors."""

_IDLE_OR_LONG = ("25P03", "25P04")
"""A transaction idle for too long, or too long as a whole: it is ours, not the migration's."""


def is_no_fault(kind: type[BaseException]) -> bool:
    """Say whether errors of a class are no fault of the migration that met them."""
    if kind is psycopg.OperationalError or issubclass(kind, DryRunStopped):
        return True  # of the driver itself, as the connection is gone; or of ours
    if not issubclass(kind, psycopg.Error):
        return False
    state = kind.sqlstate or ""
    return state.startswith(_CLASSES) or state in _IDLE_OR_LONG


def is_named_no_fault(name: str) -> bool:
    """Say the same of a class that a report names."""
    stops = (psycopg.OperationalError, DryRunStopped, KeyboardInterrupt)
    if name in {each.__name__ for each in stops}:
        return True
    kind = getattr(errors, name, None)
    return isinstance(kind, type) and is_no_fault(kind)
