"""What later migrations change about earlier findings, and which timeouts count."""

from __future__ import annotations

from dataclasses import replace

import pytest
from django.db import connections
from django.db.migrations import Migration

from django_confiture.dry_run.judge import Known
from django_confiture.dry_run.migration_executor import RehearsalExecutor
from django_confiture.dry_run.results import Finding
from django_confiture.dry_run.transaction_rehearsal import transaction_rehearsal
from django_confiture.production import collect
from tests.support.dry_run import executes, migration, rehearse, runs

pytestmark = pytest.mark.usefixtures("scratch")

TWO_COLUMNS = "ALTER TABLE dry_row ADD COLUMN p1 int, ADD COLUMN p2 int"
KEY = "ALTER TABLE {} ADD CONSTRAINT {} FOREIGN KEY ({}) REFERENCES dry_parent"


def unindexed(*plan: Migration) -> list[tuple[str, str, int | None]]:
    """Return relation, constraint and operation of the foreign keys without an index."""
    return sorted(
        (each.relation or "", each.evidence[0].split()[0], each.operation)
        for result in rehearse(*plan).migrations
        for each in result.findings
        if each.id == "foreign-key-without-index"
    )


def test_a_key_whose_name_begins_another_ones() -> None:
    keys = migration(
        runs(TWO_COLUMNS),
        runs(KEY.format("dry_row", "dry_fk2", "p2")),
        runs(KEY.format("dry_row", "dry_fk", "p1")),
        name="0001_keys",
    )
    index = migration(runs("CREATE INDEX dry_i ON dry_row (p1)"), name="0002_index")

    assert unindexed(keys) == [("dry_row", "dry_fk", 2), ("dry_row", "dry_fk2", 1)]
    assert unindexed(keys, index) == [("dry_row", "dry_fk2", 1)]


def test_keys_of_one_operation() -> None:
    """Two on one column, and a third on another."""
    add = [("dry_fk", "p1"), ("dry_fk2", "p1"), ("dry_fk3", "p2")]
    keys = migration(
        runs(TWO_COLUMNS),
        runs("; ".join(KEY.format("dry_row", name, column) for name, column in add)),
        name="0001_keys",
    )
    first = migration(runs("CREATE INDEX dry_i ON dry_row (p1)"), name="0002_index")
    second = migration(runs("CREATE INDEX dry_j ON dry_row (p2)"), name="0003_index")

    assert unindexed(keys) == [("dry_row", "dry_fk", 1), ("dry_row", "dry_fk3", 1)]
    assert unindexed(keys, first) == [("dry_row", "dry_fk3", 1)]
    assert unindexed(keys, second) == [("dry_row", "dry_fk", 1)]
    assert unindexed(keys, first, migration(*second.operations, name="0004_index")) == []


def test_keys_of_one_name_on_two_tables() -> None:
    keys = migration(
        runs("ALTER TABLE dry_row ADD COLUMN p int; ALTER TABLE dry_child ADD COLUMN p int"),
        runs(KEY.format("dry_row", "dry_fk", "p")),
        runs(KEY.format("dry_child", "dry_fk", "p")),
        name="0001_keys",
    )
    index = migration(runs("CREATE INDEX dry_i ON dry_row (p)"), name="0002_index")

    assert unindexed(keys) == [("dry_child", "dry_fk", 2), ("dry_row", "dry_fk", 1)]
    assert unindexed(keys, index) == [("dry_child", "dry_fk", 2)]


@pytest.mark.parametrize(
    ("sql", "limits"),
    [
        ("SELECT 1", False),
        ("SET LOCAL lock_timeout = 0", False),
        ("SET LOCAL lock_timeout = '0ms'", False),
        ("RESET lock_timeout", False),
        ("SELECT 1 /* lock_timeout */", False),
        ("SELECT set_config('lock_timeout', '0', true)", False),
        ("DO $$ BEGIN SET LOCAL lock_timeout = 0; END $$", False),
        ("SET LOCAL lock_timeout = '2s'", True),
        ("SET LOCAL lock_timeout TO 2000", True),
        ("SELECT pg_catalog.set_config('lock_timeout', '2s', true)", True),
        ("DO $$ BEGIN SET LOCAL lock_timeout = '2s'; END $$", True),
        ("DO $$ BEGIN PERFORM set_config('lock_timeout', '10', true); END $$", True),
    ],
)
def test_a_lock_timeout_of_the_migration(sql: str, limits: bool) -> None:
    plan = migration(runs(sql), runs("ALTER TABLE dry_row ADD COLUMN added int"))

    assert ("no-lock-timeout" in _ids(plan)) is not limits


def test_a_lock_timeout_in_a_parameter() -> None:
    sets = executes("SELECT set_config('lock_timeout', %s, true)", ["2s"])

    plan = migration(sets, runs("ALTER TABLE dry_row ADD COLUMN added int"))

    assert "no-lock-timeout" not in _ids(plan)


def _ids(plan: Migration) -> set[str]:
    (result,) = rehearse(plan).migrations
    findings: tuple[Finding, ...] = result.findings
    return {each.id for each in findings}


def _findings_for(rows: int | None) -> list[str]:
    """Dry-run an UPDATE of 300 of 1,000 rows for a production that has so many rows."""
    wrapper = connections["default"]
    with wrapper.cursor() as cursor:
        cursor.execute("ANALYZE dry_row")
    stats = collect(wrapper)
    if rows is not None:
        table = replace(stats.tables["dry_row"], rows=rows)
        stats = replace(stats, tables={**stats.tables, "dry_row": table})
    rehearsal = transaction_rehearsal(wrapper, known=Known(stats))
    case = migration(runs("UPDATE dry_row SET number = 3 WHERE id <= 300"))
    with rehearsal.open():
        executor = RehearsalExecutor(rehearsal, wrapper)
        executor.record(case)
        rehearsal.planned([(case, False)])
        executor.apply_migration(executor.project_state(), case)
    (result,) = rehearsal.migrations()
    return [each.id for each in result.findings]


def test_where_production_is_known_its_rows_count() -> None:
    assert "backfill-in-one-transaction" not in _findings_for(None)
    assert "backfill-in-one-transaction" not in _findings_for(20_000)
    assert "backfill-in-one-transaction" in _findings_for(100_000)
