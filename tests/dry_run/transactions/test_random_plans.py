"""Plans made at random of what a COMMIT changes: the dry run comes to what the real run comes to.

The same migration fails, the same rows, columns and session are there at the end, or the report
says which operation is not exact. ``CONFITURE_PLANS=2000`` tries so many instead of a few, and
``CONFITURE_CLONED_PLANS=200`` on so many clones.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from django.db.migrations import Migration
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st
from pytest_django import DjangoDbBlocker as Blocker

from django_confiture.dry_run.results import Report
from tests.cases.migrations_on_disk import query
from tests.support.clone import RECORD, alias_at, alone, create, drop, on_a_copy
from tests.support.dry_run import (
    TABLES,
    _Tables,
    for_real,
    migration,
    parameters,
    python,
    rehearse,
    runs,
)

EXAMPLES = int(os.environ.get("CONFITURE_PLANS", "15"))
CLONED_EXAMPLES = int(os.environ.get("CONFITURE_CLONED_PLANS", "2"))
ALWAYS_THE_SAME = "CONFITURE_PLANS" not in os.environ
"""A run of every test takes the same few plans; ``make plans`` takes new ones."""


def _noted(column: str, value: str, row: int) -> str:
    return f"UPDATE dry_row SET {column} = {value} WHERE id = {row}"


SETS = [
    "SET LOCAL dry.mode = 'a'",
    "SET dry.mode = 'b'",
    "RESET dry.mode",
    "SELECT set_config('dry.mode', 'c', true)",
    "DO $$ BEGIN PERFORM set_config('dry.mode', 'd', true); END $$",
    "DO $$ BEGIN PERFORM set_config('dry.mode', 'e', false); END $$",
    "DO $$ BEGIN EXECUTE 'SET LOCAL dry.mode = ''f'''; END $$",
    "DO $$ BEGIN PERFORM set_config('dry.' || lower('MODE'), 'g', true); END $$",
    "SELECT dry_sets()",
    "UPDATE dry_parent SET name = 'fires' WHERE id = 1",
    "SET LOCAL statement_timeout = '50s'",
    "SET statement_timeout = '60s'",
    "DO $$ BEGIN PERFORM set_config('statement_timeout', '70s', true); END $$",
    "SET LOCAL search_path = public, pg_catalog",
]
READS = [
    _noted("name", "coalesce(current_setting('dry.mode', true), '')", 1),
    _noted("name", "current_setting('statement_timeout')", 2),
    _noted("name", "current_setting('search_path')", 3),
    _noted("number", "(SELECT count(*) FROM dry_kept)", 4),
    _noted("number", "(SELECT count(*) FROM pg_prepared_statements WHERE name = 'dry_p')", 5),
    _noted("number", "(name = txid_current()::text)::int", 6),
    _noted("name", "txid_current()::text", 6),
    _noted("number", "(name = now()::text)::int", 7),
    _noted("name", "now()::text", 7),
    "INSERT INTO dry_numbered DEFAULT VALUES",
    _noted("number", "(SELECT count(DISTINCT tx) FROM dry_numbered)", 8),
    _noted("number", "(SELECT count(*) FROM dry_code_made)", 9),
    _noted(
        "number",
        "(SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid())",
        10,
    ),
]
ENDS = [
    "CREATE TEMP TABLE dry_gone ON COMMIT DROP AS SELECT 1 AS id",
    "CREATE TEMP TABLE IF NOT EXISTS dry_kept (id int) ON COMMIT DELETE ROWS",
    "INSERT INTO dry_kept VALUES (1)",
    "INSERT INTO dry_child SELECT max(id) + 1, 1 FROM dry_child",
    "INSERT INTO dry_child SELECT max(id) + 1, 77 FROM dry_child",
    "INSERT INTO dry_parent VALUES (77) ON CONFLICT DO NOTHING",
    "SET CONSTRAINTS ALL IMMEDIATE",
    "DECLARE dry_held CURSOR WITH HOLD FOR SELECT id FROM dry_row",
    "FETCH 2 FROM dry_held",
    "CLOSE dry_held",
    "DECLARE dry_open CURSOR FOR SELECT id FROM dry_row",
    "FETCH 2 FROM dry_open",
    "PREPARE dry_p AS SELECT 1",
    "DEALLOCATE dry_p",
    "NOTIFY dry_channel",
    "SELECT pg_advisory_xact_lock(7)",
    "SELECT dry_makes()",
    "DO $$ BEGIN CREATE TEMP TABLE IF NOT EXISTS dry_code_made (id int); END $$",
    "DO $$ BEGIN EXECUTE 'CREATE TEMP TABLE dry_code_made (id int) ON COMMIT ' || 'DROP'; END $$",
]
CHANGES = [
    "ALTER TABLE dry_row ADD IF NOT EXISTS added integer",
    "ALTER TABLE dry_row ALTER number TYPE bigint",
    "ALTER TABLE dry_child ADD IF NOT EXISTS added integer",
    "CREATE INDEX IF NOT EXISTS dry_i ON dry_row (number)",
    "DELETE FROM dry_child WHERE id > 50",
    "SELECT 1 / (SELECT count(*) FROM dry_child WHERE id > 50)",
]

_CODE = """
    CREATE TABLE dry_numbered (tx text DEFAULT txid_current()::text);
    CREATE FUNCTION dry_makes() RETURNS void LANGUAGE plpgsql AS
        $$ BEGIN CREATE TEMP TABLE dry_code_made ON COMMIT DROP AS SELECT 1 AS id; END $$;
    CREATE FUNCTION dry_sets() RETURNS void LANGUAGE plpgsql AS
        $$ BEGIN PERFORM set_config('dry.mode', 'h', true); END $$;
    CREATE FUNCTION dry_fires() RETURNS trigger LANGUAGE plpgsql AS
        $$ BEGIN PERFORM set_config('dry.mode', 'i', true); RETURN new; END $$;
    CREATE TRIGGER dry_fires BEFORE UPDATE ON dry_parent
        FOR EACH ROW EXECUTE FUNCTION dry_fires();
"""

_STATE = """
    SELECT (SELECT md5(string_agg(concat_ws(' ', r.id, r.number, r.code,
          CASE WHEN r.id NOT IN (6, 7) THEN r.name END), ',' ORDER BY r.id)) FROM dry_row r),
      (SELECT md5(string_agg(c::text, ',' ORDER BY c.id)) FROM dry_child c),
      (SELECT string_agg(p::text, ',' ORDER BY p.id) FROM dry_parent p),
      (SELECT string_agg(concat_ws(' ', table_name, column_name, data_type), ','
          ORDER BY table_name, ordinal_position)
        FROM information_schema.columns WHERE table_schema = 'public' AND table_name ~ '^dry_'),
      (SELECT string_agg(indexname, ',' ORDER BY indexname) FROM pg_indexes
        WHERE tablename ~ '^dry_' AND schemaname = 'public'),
      coalesce(current_setting('dry.mode', true), ''), current_setting('statement_timeout'),
      (SELECT string_agg(name, ',' ORDER BY name) FROM pg_prepared_statements WHERE name ~ '^dry_'),
      (SELECT string_agg(name, ',' ORDER BY name) FROM pg_cursors WHERE name ~ '^dry_')
"""

statements = st.one_of(*(st.sampled_from(each) for each in (SETS, READS, ENDS, CHANGES)))
plans = st.lists(
    st.tuples(st.lists(statements, min_size=1, max_size=5), st.booleans()), min_size=2, max_size=5
)

Steps = list[tuple[list[str], bool]]


@pytest.fixture(scope="module")
def fresh(both_databases: None, django_db_blocker: Blocker) -> Iterator[_Tables]:
    """Give the tables, which each example makes again."""
    with django_db_blocker.unblock():
        tables = _Tables()
        yield tables
        tables.close()


def made(steps: Steps, seen: list[Any]) -> list[Migration]:
    """Return the migrations; each notes its end, and one more what is there then."""
    return [
        *(
            migration(
                *map(runs, texts),
                python(lambda: seen.append("done")),
                atomic=atomic,
                name=f"{number:04}_case",
            )
            for number, (texts, atomic) in enumerate(steps, 1)
        ),
        migration(python(lambda: seen.extend(query(_STATE))), name="9999_state"),
    ]


def inexact(report: Report) -> list[str]:
    """Return why operations are not exact."""
    return [
        each.reason
        for result in report.migrations
        for each in result.operations
        if each.rehearsed == "not_rehearsed"
    ]


def shown(report: Report) -> list[str]:
    """Return the errors of a report."""
    return [each.error.message for each in report.migrations if each.error is not None]


_SLOW = [HealthCheck.too_slow]


@settings(
    max_examples=EXAMPLES,
    deadline=None,
    database=None,
    derandomize=ALWAYS_THE_SAME,
    suppress_health_check=_SLOW,
)
@given(steps=plans)
def test_the_dry_run_comes_to_what_the_real_run_comes_to(fresh: _Tables, steps: Steps) -> None:
    fresh.make()
    fresh.observers["default"].execute(_CODE)
    rehearsed: list[Any] = []
    real: list[Any] = []

    report = rehearse(*made(steps, rehearsed))
    error = for_real(*made(steps, real))

    event("not exact" if inexact(report) else "exact")
    event("fails" if error else "passes")
    assert rehearsed == real or inexact(report), (error, shown(report))


@pytest.fixture(scope="module")
def unblocked(both_databases: None, django_db_blocker: Blocker) -> Iterator[None]:
    """Let a test use the databases without the mark."""
    with alone(), django_db_blocker.unblock():
        yield


@settings(
    max_examples=CLONED_EXAMPLES,
    deadline=None,
    database=None,
    derandomize=ALWAYS_THE_SAME,
    suppress_health_check=_SLOW,
)
@given(steps=plans)
def test_a_clone_comes_to_what_the_real_run_comes_to(unblocked: None, steps: Steps) -> None:
    cloned: list[Any] = []
    real: list[Any] = []
    with plans_database() as name, alias_at("default", NAME=name):
        report = on_a_copy(*made(steps, cloned))
        error = for_real(*made(steps, real))

    event("fails" if error else "passes")
    # Of a clone only the locks that code takes again can be unknown.
    assert not [why for why in inexact(report) if "What it locks of" not in why]
    assert cloned == real, (error, shown(report))


@contextmanager
def plans_database() -> Iterator[str]:
    """Give a database that no one is connected to."""
    name = f"{parameters()['dbname']}_plans"
    create(name, TABLES + RECORD + _CODE)
    try:
        yield name
    finally:
        drop(name)
