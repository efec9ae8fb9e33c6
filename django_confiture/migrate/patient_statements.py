"""Statements that can wait long without blocking others; ``lock_timeout`` is lifted for them.

``CREATE INDEX CONCURRENTLY`` and its like wait for older transactions, ``VALIDATE CONSTRAINT``
for other schema changes; reads and writes go on meanwhile. A ``lock_timeout`` there protects no
one, and leaves an INVALID index behind.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from psycopg import Error
from psycopg.pq import TransactionStatus

from django_confiture.dry_run_mark import in_dry_run
from django_confiture.migrate.invalid_indexes import invalid_indexes_left_by
from django_confiture.migrate.pending_detach import Detach, State, detach_in
from django_confiture.sql_text import (
    NAME,
    QUALIFIED_NAME,
    first_word,
    without_leading_comments,
)

if TYPE_CHECKING:
    import psycopg
    from django.db.backends.base.base import BaseDatabaseWrapper

_CONCURRENTLY = re.compile(
    r"(?:CREATE\s+(?:UNIQUE\s+)?INDEX|DROP\s+INDEX"
    r"|REINDEX\s+(?:\([^)]*\)\s*)?(?:INDEX|TABLE|SCHEMA|DATABASE))\s+CONCURRENTLY\b"
    r"|REINDEX\s*\([^)]*\bCONCURRENTLY\b",
    re.IGNORECASE,
)
_VALIDATE = re.compile(
    rf"ALTER\s+TABLE\s+(?:IF\s+EXISTS\s+)?(?:ONLY\s+)?{QUALIFIED_NAME}\s*\*?\s+"
    rf"VALIDATE\s+CONSTRAINT\s+{NAME}\s*;?\s*",
    re.IGNORECASE,
)

_HOLDS_STRONG_LOCK = (
    "SELECT EXISTS (SELECT FROM pg_catalog.pg_locks"
    " WHERE pid = pg_catalog.pg_backend_pid() AND granted AND locktype = 'relation'"
    " AND mode IN ('ShareLock', 'ShareRowExclusiveLock', 'ExclusiveLock', 'AccessExclusiveLock'))"
)


class PatientStatements:
    """A wrapper around Django's ``cursor.execute`` that lifts ``lock_timeout`` where it harms."""

    def __init__(
        self, connection: BaseDatabaseWrapper, *, lifts_lock_timeout: bool, session_is_shared: bool
    ) -> None:
        self._connection = connection
        self._lifts = lifts_lock_timeout
        self._local = session_is_shared
        self._says_what_is_left = not in_dry_run(connection)
        """In a dry run nothing is left, and questions to the catalog would be in its report."""

    def __call__(
        self,
        execute: Callable[..., Any],
        sql: Any,
        params: Any,
        many: bool,  # noqa: FBT001 - Django's signature
        context: dict[str, Any],
    ) -> Any:
        """Send one statement."""
        text = without_leading_comments(sql) if isinstance(sql, str) else ""
        if self._says_what_is_left and (detach := detach_in(text)) is not None:
            try:
                return execute(sql, params, many, context)
            except Exception as error:
                self._note_pending(detach, error)
                raise
        concurrently = _CONCURRENTLY.match(text) is not None
        if not concurrently and _VALIDATE.fullmatch(text) is None:
            return execute(sql, params, many, context)
        try:
            with self._without_lock_timeout():
                return execute(sql, params, many, context)
        except Exception as error:
            if concurrently and self._says_what_is_left:
                self._note_invalid_indexes(text, error)
            raise

    @contextmanager
    def _without_lock_timeout(self) -> Iterator[None]:
        raw: psycopg.Connection[Any] = self._connection.connection
        if not self._lifts or (raw.autocommit and self._local) or self._blocks_others(raw):
            yield
            return
        row = raw.execute("SELECT pg_catalog.current_setting('lock_timeout')").fetchone()
        assert row is not None
        self._set_lock_timeout(raw, "0")
        try:
            yield
        finally:
            if not raw.closed and raw.info.transaction_status != TransactionStatus.INERROR:
                self._set_lock_timeout(raw, row[0])

    def _blocks_others(self, raw: psycopg.Connection[Any]) -> bool:
        """Return whether other sessions would wait for the locks that we hold already."""
        if raw.autocommit:
            return False
        row = raw.execute(_HOLDS_STRONG_LOCK).fetchone()
        return bool(row and row[0])

    def _set_lock_timeout(self, raw: psycopg.Connection[Any], value: str) -> None:
        raw.execute("SELECT pg_catalog.set_config('lock_timeout', %s, %s)", [value, self._local])

    def _note_pending(self, detach: Detach, error: Exception) -> None:
        try:
            if detach.state(self._connection.connection) is not State.PENDING:
                return
        except Error:
            return
        error.add_note(
            f"{detach.partition} was left half detached: no query of {detach.table} reads it any "
            'more. Set CONFITURE["MIGRATE"]["RESUME"] = True (with django_confiture.history), and '
            f"the next migrate completes it; or run {detach.finalize}; by hand, and take the "
            "statement out of the migration."
        )

    def _note_invalid_indexes(self, text: str, error: Exception) -> None:
        reindex = first_word(text).upper() == "REINDEX"
        try:
            left = invalid_indexes_left_by(text, self._connection.connection, reindex=reindex)
        except Error:  # the connection is gone, or the transaction is broken
            return
        for index in left:
            error.add_note(
                f'The INVALID index "{index.name}" on "{index.table}" was left behind: it slows '
                f"writes down and serves no query. Run DROP INDEX CONCURRENTLY {index.quoted}; "
                'and migrate again, or set CONFITURE["MIGRATE"]["RESUME"] = True (with '
                "django_confiture.history), and the next migrate does both."
            )


def is_concurrent(sql: str) -> bool:
    """Return whether a statement works CONCURRENTLY, so that it can't run in a transaction."""
    return _CONCURRENTLY.match(without_leading_comments(sql)) is not None
