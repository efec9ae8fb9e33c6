"""Errors that say nothing about a migration: the server, or a limit, ended the dry run."""

from __future__ import annotations

import psycopg

from django_confiture.exceptions import DryRunStopped

_CLASSES = ("08", "53", "57P", "58")
"""SQLSTATEs: connections, resources such as the disk, the server's end, the system's errors."""

_IDLE_OR_LONG = ("25P03", "25P04")
"""A transaction idle for too long, or too long as a whole: it is ours, not the migration's."""


def is_no_fault(kind: type[BaseException]) -> bool:
    """Return whether an error of this class says nothing about the migration that met it."""
    if kind is psycopg.OperationalError:
        return True  # raised by psycopg itself, since the connection is gone
    if issubclass(kind, (DryRunStopped, KeyboardInterrupt)):
        return True
    if not issubclass(kind, psycopg.Error):
        return False
    state = kind.sqlstate or ""
    return state.startswith(_CLASSES) or state in _IDLE_OR_LONG
