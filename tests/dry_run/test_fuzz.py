"""Random migrations that no one would write: nothing of them ever persists.

``CONFITURE_FUZZ=2000`` tries so many instead of a few.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import pytest
from django.db import DatabaseError, connections, transaction
from django.db.migrations.operations.base import Operation
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pytest_django import DjangoDbBlocker as Blocker

from django_confiture import Hook, HookContext, HookPhase, HookResult, RunHook
from tests.support.dry_run import ALIASES, _Tables, migration, python, rehearse, runs

EXAMPLES = int(os.environ.get("CONFITURE_FUZZ", "40"))

TRANSACTION = [
    "BEGIN",
    "START TRANSACTION READ WRITE",
    "COMMIT",
    "COMMIT AND CHAIN",
    "END",
    "ROLLBACK",
    "ROLLBACK AND CHAIN",
    "ABORT",
    "SAVEPOINT dry_s",
    "ROLLBACK TO SAVEPOINT dry_s",
    "RELEASE SAVEPOINT dry_s",
    "PREPARE TRANSACTION 'dry'",
    "COMMIT PREPARED 'dry'",
    "SET CONSTRAINTS ALL IMMEDIATE",
    "SET TRANSACTION ISOLATION LEVEL SERIALIZABLE",
    "DISCARD ALL",
    "DISCARD TEMP",
]

HARMS = [
    "UPDATE dry_row SET name = 'LEAK' WHERE id % 7 = 0",
    "DELETE FROM dry_child WHERE id % 3 = 0",
    "INSERT INTO dry_parent VALUES (1000, 'LEAK')",
    "INSERT INTO dry_child VALUES (1000, 77)",
    "WITH gone AS (DELETE FROM dry_row WHERE id < 10 RETURNING 1) SELECT * FROM gone",
    "TRUNCATE dry_row",
    "DROP TABLE dry_child",
    "ALTER TABLE dry_row ADD dry_c integer DEFAULT 7",
    "ALTER TABLE dry_row ALTER number TYPE bigint",
    "ALTER TABLE dry_row RENAME TO dry_renamed",
    "CREATE INDEX ON dry_row (name)",
    "CREATE INDEX CONCURRENTLY dry_i ON dry_row (number)",
    "REINDEX TABLE CONCURRENTLY dry_row",
    "CREATE TABLE dry_new AS SELECT * FROM dry_row",
    "CREATE TYPE dry_mood AS ENUM ('ok')",
    "VACUUM dry_row",
    "ANALYZE dry_row",
    "CALL dry_commits()",
    "DO $$ BEGIN UPDATE dry_row SET name = 'LEAK'; COMMIT; END $$",
    "COPY dry_row TO STDOUT",
    "NOTIFY dry_channel",
    "LISTEN dry_channel",
    "SET application_name = 'LEAK'",
    "SET LOCAL lock_timeout = '7s'",
    "LOCK TABLE dry_parent IN ACCESS EXCLUSIVE MODE",
    "PREPARE dry_p AS SELECT 1",
    "DECLARE dry_cursor CURSOR WITH HOLD FOR SELECT * FROM dry_row",
    "SELECT pg_advisory_lock(7)",
]

ERRORS = [
    "SELECT 1 / 0",
    "INSERT INTO dry_row VALUES (1)",
    "frobnicate",
    "SELECT * FROM dry_nowhere",
    "'",
]

statements = st.one_of(
    st.sampled_from(HARMS), st.sampled_from(HARMS), st.sampled_from(TRANSACTION),
    st.sampled_from(ERRORS),
)  # fmt: skip
scripts = st.lists(statements, min_size=1, max_size=5).map("; ".join)


class DroppedError(Exception):
    """A failure of Python's."""


def _with_cursor(alias: str, script: str) -> None:
    with connections[alias].cursor() as cursor:
        cursor.execute(script)


def _raw(alias: str, script: str) -> None:
    connections[alias].ensure_connection()
    connections[alias].connection.execute(script)


def _raw_transaction(alias: str, script: str) -> None:
    connections[alias].ensure_connection()
    with connections[alias].connection.transaction():
        connections[alias].connection.execute(script)


def _pipeline(alias: str, script: str) -> None:
    connections[alias].ensure_connection()
    with connections[alias].connection.pipeline():
        connections[alias].connection.execute(script)


def _atomic(alias: str, script: str) -> None:
    with transaction.atomic(using=alias):
        _with_cursor(alias, script)


def _durable(alias: str, script: str) -> None:
    with transaction.atomic(using=alias, durable=True):
        _with_cursor(alias, script)


def _swallowed(alias: str, script: str) -> None:
    with suppress(DatabaseError):
        _with_cursor(alias, script)


def _by_hand(alias: str, script: str) -> None:
    transaction.set_autocommit(False, using=alias)
    _with_cursor(alias, script)
    transaction.commit(using=alias)
    transaction.set_autocommit(True, using=alias)


def _committed(alias: str, script: str) -> None:
    _with_cursor(alias, script)
    connections[alias].connection.commit()


def _rolled_back(alias: str, script: str) -> None:
    _with_cursor(alias, script)
    connections[alias].connection.rollback()


def _closed(alias: str, script: str) -> None:
    _with_cursor(alias, script)
    connections[alias].close()
    _with_cursor(alias, script)


def _many(alias: str, script: str) -> None:
    with connections[alias].cursor() as cursor:
        cursor.executemany("UPDATE dry_row SET name = %s WHERE id = %s", [("LEAK", 1), ("LEAK", 2)])
    _with_cursor(alias, script)


def _on_commit(alias: str, script: str) -> None:
    transaction.on_commit(lambda: CALLED.append(alias), using=alias)
    _with_cursor(alias, script)


def _fails(alias: str, script: str) -> None:
    _with_cursor(alias, script)
    raise DroppedError


CALLED: list[str] = []
"""Callbacks that were called; none may be."""

WAYS: list[Callable[[str, str], None]] = [
    _with_cursor, _raw, _raw_transaction, _pipeline, _atomic, _durable, _swallowed, _by_hand,
    _committed, _rolled_back, _closed, _many, _on_commit, _fails,
]  # fmt: skip


def _code(way: Callable[[str, str], None], alias: str, script: str) -> Operation:
    return python(lambda: way(alias, script))


def _hook(script: str) -> Operation:
    class Writes(Hook):
        phase = HookPhase.AFTER_DDL

        def execute(self, conn: Any, context: HookContext) -> HookResult:
            conn.execute(script)
            return HookResult("AFTER_DDL", "Writes")

    return RunHook(Writes)


operations = st.one_of(
    scripts.map(runs),
    st.builds(_code, st.sampled_from(WAYS), st.sampled_from(ALIASES), scripts),
    scripts.map(_hook),
)
plans = st.lists(
    st.tuples(st.lists(operations, min_size=1, max_size=3), st.booleans()), min_size=1, max_size=3
)


@pytest.fixture(scope="module")
def fresh(both_databases: None, django_db_blocker: Blocker) -> Iterator[_Tables]:
    """Give tables that are created again whenever an example has changed them."""
    with django_db_blocker.unblock():
        tables = _Tables()
        tables.make()
        yield tables
        tables.close()


@settings(
    max_examples=EXAMPLES,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.too_slow],
)
@given(plan=plans, using=st.sampled_from(ALIASES))
def test_nothing_persists(fresh: _Tables, plan: list[Any], using: str) -> None:
    CALLED.clear()
    before = fresh.everything()
    report = rehearse(
        *(
            migration(*each, atomic=atomic, name=f"{number:04}_case")
            for number, (each, atomic) in enumerate(plan, 1)
        ),
        using=using,
    )
    try:
        assert fresh.everything() == before
        assert CALLED == []
        assert report.outcome in ("passed", "failed")
    except AssertionError:
        fresh.make()
        raise
