"""What a real ``migrate`` locks, and how long each migration takes.

Each migration's transaction is asked for its locks right before it commits. After each one, the
caller may look around.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

_TABLES = """
SELECT oid::bigint, relname FROM pg_class
WHERE relkind IN ('r', 'p', 'm', 'v', 'f') AND relnamespace = 'public'::regnamespace
"""
_HELD = """
SELECT relation::bigint, mode FROM pg_locks
WHERE pid = pg_backend_pid() AND locktype = 'relation' AND granted
"""


@contextmanager
def observed(connection: Any, applied: Callable[[str], None]) -> Iterator[dict[str, Any]]:
    """Note locks on tables that were there before, durations, and what has no transaction."""
    from django.db.backends.base.schema import BaseDatabaseSchemaEditor as Editor
    from django.db.migrations.executor import MigrationExecutor

    def ask(query: str) -> list[Any]:
        with connection.cursor() as cursor:
            cursor.execute(query)
            return list(cursor.fetchall())

    tables = dict(ask(_TABLES))
    locks: dict[str, dict[str, list[str]]] = {}
    durations: dict[str, float] = {}
    without: list[str] = []
    current = ""
    leave, apply = Editor.__exit__, MigrationExecutor.apply_migration

    def leaving(self: Any, kind: Any, error: Any, traceback: Any) -> None:
        if kind is None and self.atomic_migration and current:
            for statement in self.deferred_sql:
                self.execute(statement, None)
            self.deferred_sql.clear()
            held = locks.setdefault(current, {})
            for oid, mode in ask(_HELD):
                if oid in tables:
                    held.setdefault(tables[oid], []).append(mode)
        leave(self, kind, error, traceback)

    def applying(self: Any, state: Any, migration: Any, **options: Any) -> Any:
        nonlocal current
        current = f"{migration.app_label}.{migration.name}"
        if not migration.atomic:
            without.append(current)
        began = time.perf_counter()
        try:
            after = apply(self, state, migration, **options)
        finally:
            durations[current] = (time.perf_counter() - began) * 1000
        applied(current)
        return after

    with (
        mock.patch.object(Editor, "__exit__", leaving),
        mock.patch.object(MigrationExecutor, "apply_migration", applying),
    ):
        yield {"locks": locks, "durations": durations, "without_transaction": without}
