"""Connections to databases that are not PostgreSQL, rolled back with Django's own means."""

from __future__ import annotations

import re
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from django_confiture.dry_run.server.driver import atomic_around_durable

if TYPE_CHECKING:
    from django.db.backends.base.base import BaseDatabaseWrapper


_ONLY_READS = re.compile(
    r"\s*(?:SELECT|PRAGMA|EXPLAIN|SHOW|BEGIN|SAVEPOINT|RELEASE|ROLLBACK TO)\b", re.IGNORECASE
)
_READING = {
    sqlite3.SQLITE_SELECT,
    sqlite3.SQLITE_READ,
    sqlite3.SQLITE_FUNCTION,
    sqlite3.SQLITE_RECURSIVE,
    sqlite3.SQLITE_PRAGMA,
    sqlite3.SQLITE_SAVEPOINT,
    sqlite3.SQLITE_TRANSACTION,
}


@contextmanager
def rolled_back(
    wrapper: BaseDatabaseWrapper,
    refused_commit: Callable[[str], None],
    not_measured: Callable[[], None],
) -> Iterator[None]:
    """Hold a connection in a transaction that is rolled back.

    ``refused_commit`` is told the alias where a migration tried to end it; ``not_measured`` is
    called where a statement may change something.
    """
    thread = threading.get_ident()
    outer = atomic_around_durable(wrapper.alias)
    outer.__enter__()
    try:
        with _uncommitted(wrapper, refused_commit, not_measured), _overheard(wrapper, not_measured):
            yield
    finally:
        if threading.get_ident() == thread:
            wrapper.set_rollback(True)
            outer.__exit__(None, None, None)
        elif wrapper.connection is not None:  # Django would take this thread's connection
            wrapper.connection.rollback()
            wrapper.connection.close()
            wrapper.connection = None


@contextmanager
def _overheard(wrapper: BaseDatabaseWrapper, not_measured: Callable[[], None]) -> Iterator[None]:
    """Tell of what Django's cursors send that may change something."""

    def hear(execute: Callable[..., Any], sql: str, *args: Any) -> Any:
        if not _ONLY_READS.match(sql):
            not_measured()
        return execute(sql, *args)

    with wrapper.execute_wrapper(hear):
        yield


@contextmanager
def _uncommitted(
    wrapper: BaseDatabaseWrapper,
    refused_commit: Callable[[str], None],
    not_measured: Callable[[], None],
) -> Iterator[None]:
    """Make SQLite refuse to end the transaction, as ``executescript`` does when it begins."""
    raw = wrapper.connection
    if not isinstance(raw, sqlite3.Connection):
        yield
        return

    def authorize(action: int, what: str | None, *_rest: object) -> int:
        if action not in _READING:
            not_measured()  # past Django's cursors as well
        if action != sqlite3.SQLITE_TRANSACTION or what == "BEGIN":
            return sqlite3.SQLITE_OK
        refused_commit(wrapper.alias)
        return sqlite3.SQLITE_DENY

    raw.set_authorizer(authorize)
    try:
        yield
    finally:
        if wrapper.connection is raw:
            raw.set_authorizer(None)
