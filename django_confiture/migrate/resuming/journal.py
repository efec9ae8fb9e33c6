"""The journal: which operations of a non-atomic migration are done, as rows of ``history``.

They are written on the connection that migrates, so that an operation with a transaction of its
own and its row are committed together, and past Django's cursors, so that no one records them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from django.apps import apps
from psycopg import sql

if TYPE_CHECKING:
    from django.db.backends.base.base import BaseDatabaseWrapper
    from django.db.migrations.migration import Migration

STARTED, DONE = "started", "done"

_HISTORY = "django_confiture.history"


@dataclass(frozen=True)
class Backend:
    """A server process, distinguished from a later one with the same number."""

    pid: int | None
    """None where a pool gives each transaction another one."""
    started: str
    """Empty where the role may not see it."""


@dataclass(frozen=True)
class JournalEntry:
    """One step of one operation that was started, and perhaps done."""

    id: int
    operation: int
    step: int
    state: str
    fingerprint: str
    indexes: Mapping[str, int]
    """Those that the step names and that were there when it started: name → OID."""
    backend: Backend
    started_at: str


class Journal:
    """The steps of one migration."""

    def __init__(
        self,
        connection: BaseDatabaseWrapper,
        migration: Migration,
        *,
        fingerprint: str = "",
        backend: Backend | None = None,
    ) -> None:
        self._connection = connection
        self._key = (migration.app_label, migration.name)
        self._fingerprint = fingerprint
        self._backend = backend or Backend(None, "")

    def entries(self) -> list[JournalEntry]:
        """Return the entries that earlier runs have written, in order."""
        rows = self._execute(
            "SELECT id, operation, step, state, fingerprint, indexes, backend_pid,"
            " backend_started, started_at::text FROM {table}"
            " WHERE schema = current_schema() AND app_label = %s AND name = %s"
            " ORDER BY operation, step",
            self._key,
        )
        return [
            JournalEntry(
                id=row[0],
                operation=row[1],
                step=row[2],
                state=row[3],
                fingerprint=row[4],
                indexes=_loaded(row[5]),
                backend=Backend(*row[6:8]),
                started_at=row[8],
            )
            for row in rows
        ]

    def write(
        self, state: str, operation: int, step: int, indexes: Mapping[str, int] | None = None
    ) -> None:
        """Note that a step is started or done."""
        self._execute(
            "INSERT INTO {table} (schema, app_label, name, operation, step, state, fingerprint,"
            " indexes, backend_pid, backend_started, started_at)"
            " VALUES (current_schema(), %s, %s, %s, %s, %s, %s, %s::jsonb, %s, %s, now())"
            " ON CONFLICT (schema, app_label, name, operation, step) DO UPDATE SET"
            " state = excluded.state, backend_pid = excluded.backend_pid,"
            " backend_started = excluded.backend_started, fingerprint = excluded.fingerprint",
            (
                *(*self._key, operation, step, state, self._fingerprint),
                *(json.dumps(indexes or {}), self._backend.pid, self._backend.started),
            ),
        )

    def forget(self) -> None:
        """Delete the migration's entries."""
        self._execute(
            "DELETE FROM {table} WHERE schema = current_schema() AND app_label = %s AND name = %s",
            self._key,
        )

    def how_to_forget(self) -> str:
        """Return the SQL that lets the migration begin again."""
        app_label, name = self._key
        text = "DELETE FROM {} WHERE app_label = {} AND name = {};"
        return sql.SQL(text).format(_table(), app_label, name).as_string(None)

    def how_to_mark_done(self, entry: JournalEntry) -> str:
        """Return the SQL that lets the migration go on after a step."""
        text = "UPDATE {} SET state = {} WHERE id = {};"
        return sql.SQL(text).format(_table(), DONE, entry.id).as_string(None)

    def _execute(self, text: str, params: tuple[Any, ...]) -> list[tuple[Any, ...]]:
        return execute(self._connection, text, params)


def execute(
    connection: BaseDatabaseWrapper, text: str, params: tuple[Any, ...] = ()
) -> list[tuple[Any, ...]]:
    """Run a statement with ``{table}`` in it; return its rows."""
    connection.ensure_connection()
    query = sql.SQL(text).format(table=_table())
    cursor = connection.connection.execute(query, params)
    return cursor.fetchall() if cursor.description else []


def this_backend(connection: BaseDatabaseWrapper) -> Backend:
    """Return the server process of the connection."""
    connection.ensure_connection()
    row = connection.connection.execute(
        "SELECT pid, coalesce(extract(epoch FROM backend_start)::text, '')"
        " FROM pg_catalog.pg_stat_activity WHERE pid = pg_catalog.pg_backend_pid()"
    ).fetchone()
    return Backend(*row)


def _table() -> sql.Identifier:
    """Return the journal's table, which history's migrations make."""
    return sql.Identifier(apps.get_model("confiture_history", "JournalEntry")._meta.db_table)


def is_available(connection: BaseDatabaseWrapper) -> bool:
    """Return whether the journal's app is installed and has its table in this database."""
    if not apps.is_installed(_HISTORY):
        return False
    connection.ensure_connection()
    quoted = _table().as_string(None)
    row = connection.connection.execute("SELECT to_regclass(%s)", [quoted]).fetchone()
    return row is not None and row[0] is not None


def forget_applied(connection: BaseDatabaseWrapper) -> dict[tuple[str, str], int]:
    """Delete the entries of migrations that are recorded as applied: they are complete.

    Return how many operations are done of each of the others, by app label and name.
    """
    rows = execute(
        connection,
        "WITH applied AS (SELECT app, name FROM django_migrations), complete AS (DELETE FROM"
        " {table} WHERE schema = current_schema() AND (app_label, name) IN (TABLE applied))"
        " SELECT app_label, name, count(DISTINCT operation) FILTER (WHERE state = %s) FROM {table}"
        " WHERE schema = current_schema() AND (app_label, name) NOT IN (TABLE applied)"
        " GROUP BY app_label, name",
        (DONE,),
    )
    return {(app_label, name): done for app_label, name, done in rows}


def _loaded(value: Any) -> dict[str, int]:
    """Return a JSON object, which the driver loads unless Django has told it not to."""
    return dict(json.loads(value)) if isinstance(value, str) else dict(value)
