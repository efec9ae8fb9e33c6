"""Errors that are not the migration's fault: the server, or a limit, ended the dry run."""

from __future__ import annotations

import psycopg
from django.db import DatabaseError
from psycopg.errors import LockNotAvailable, QueryCanceled

from django_confiture.exceptions import DryRunStopped, HookError, HookVeto

_CLASSES = ("08", "53", "57P", "58")
"""SQLSTATE classes: connection lost, out of resources, server shutdown, system errors."""

_IDLE_OR_LONG = ("25P03", "25P04")
"""Timeouts of whole transactions: they end the dry run's transaction, not the migration's."""


def original_error(error: BaseException) -> BaseException:
    """Return the driver's error behind one of Django's, and whatever is behind one of a hook."""
    while isinstance(error, DatabaseError | HookError | HookVeto) and error.__cause__ is not None:
        error = error.__cause__
    return error


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


def is_cancelled(error: BaseException) -> bool:
    """Return whether a statement was canceled, by a session or a timeout, of a hook as well."""
    return isinstance(original_error(error), QueryCanceled)


def is_lock_timeout(error: BaseException) -> bool:
    """Return whether ``lock_timeout`` ended the wait for a lock, of a hook as well.

    ``NOWAIT`` has the same SQLSTATE, and a function may raise it, but only the timeout comes from
    where PostgreSQL handles interrupts. That name is the same in every language.
    """
    cause = original_error(error)
    if not isinstance(cause, LockNotAvailable):
        return False
    return cause.diag.source_function == "ProcessInterrupts"
