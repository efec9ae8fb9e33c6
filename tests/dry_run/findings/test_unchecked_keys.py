"""``foreign-key-unchecked``: rows that were written while their foreign keys were off."""

from __future__ import annotations

import pytest
from django.db.migrations.operations.base import Operation

from django_confiture.dry_run.findings import unchecked_keys
from django_confiture.dry_run.results import Finding
from tests.support.dry_run import executes, for_real, migration, plain_connection, rehearse, runs

pytestmark = pytest.mark.usefixtures("scratch")

ID = "foreign-key-unchecked"
KEY = "dry_child_parent_id_fkey"
REPLICA = "SET LOCAL session_replication_role = replica"
WITHOUT_PARENT = "DELETE FROM dry_parent WHERE id = 3"  # ten children
FITS = "UPDATE dry_child SET parent_id = 4 WHERE id = 1"


def found(*plan: Operation | str) -> list[Finding]:
    """Return the findings of a plan that passes, with one migration for each operation."""
    operations = [runs(each) if isinstance(each, str) else each for each in plan]
    results = rehearse(*map(migration, operations)).migrations
    assert [each.outcome for each in results] == ["passed"] * len(plan), results[-1].error
    return [each for result in results for each in result.findings if each.id == ID]


def off(write: str) -> str:
    """Return a script that writes while the triggers of the parents are off."""
    table = "ALTER TABLE dry_parent"
    return f"{table} DISABLE TRIGGER ALL; {write}; {table} ENABLE TRIGGER ALL"


OFF: dict[str, Operation | str] = {
    "for the transaction": f"{REPLICA}; {WITHOUT_PARENT}",
    "for a while": (
        f"SET session_replication_role TO 'replica'; {WITHOUT_PARENT};"
        " RESET session_replication_role"
    ),
    "by a function": (
        f"SELECT set_config('session_replication_role', 'replica', true); {WITHOUT_PARENT}"
    ),
    "by what Python sends": executes(
        f"SET LOCAL session_replication_role = 'replica'; {WITHOUT_PARENT}"
    ),
    "in code": (
        "DO $$ BEGIN PERFORM set_config('session_replication_role', 'replica', true);"
        f" {WITHOUT_PARENT}; SET LOCAL session_replication_role = origin; END $$"
    ),
    "in code that writes the statement": (
        "DO $$ BEGIN EXECUTE format('ALTER TABLE %I DISABLE TRIGGER ALL', 'dry_parent');"
        f" {WITHOUT_PARENT}; ALTER TABLE dry_parent ENABLE TRIGGER ALL; END $$"
    ),
    "in a function": (
        "CREATE FUNCTION dry_wipes() RETURNS void LANGUAGE sql SET session_replication_role"
        f" = replica AS '{WITHOUT_PARENT}'; SELECT dry_wipes()"
    ),
    "of the table": off(WITHOUT_PARENT),
    "a row that refers to nothing": f"{REPLICA}; INSERT INTO dry_child VALUES (200, 99)",
}


@pytest.mark.parametrize("plan", OFF.values(), ids=OFF.keys())
def test_rows_that_refer_to_nothing_are_counted(plan: Operation | str) -> None:
    (finding,) = found(plan)
    rows = "1 row" if "99" in str(plan) else "10 rows"
    assert (finding.severity, finding.basis, finding.relation) == (
        "danger", "measured", "dry_child",
    )  # fmt: skip
    refer = "refers" if rows == "1 row" else "refer"
    assert finding.message == (
        f"{rows} of dry_child {refer} to no row of dry_parent: the foreign key was off while rows"
        " were written"
    )
    assert finding.evidence == (f"{KEY}, without a row of dry_parent: {rows}",)


def test_a_real_migrate_leaves_them() -> None:
    with plain_connection() as plain:
        plain.execute("CREATE TABLE dry_before AS TABLE dry_parent")
        for_real(migration(runs(f"{REPLICA}; {WITHOUT_PARENT}")))
        count = "SELECT count(*) FROM dry_child WHERE parent_id NOT IN (SELECT id FROM dry_parent)"
        left = plain.execute(count).fetchone()
        plain.execute("INSERT INTO dry_parent SELECT * FROM dry_before WHERE id = 3")
        plain.execute("DROP TABLE dry_before")
    assert left == (10,)


def test_it_is_a_notice_where_all_refer_to_a_row() -> None:
    (finding,) = found(f"{REPLICA}; {FITS}")
    assert finding.severity == "notice"
    assert finding.message == (
        "Rows are written while the foreign key of dry_child to dry_parent is off: all refer to a"
        " row here, and PostgreSQL won't look in production"
    )


def test_it_says_where_there_was_no_time_to_look(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unchecked_keys, "_TIMEOUT", "1ms")
    slow = (
        "CREATE TABLE dry_slow (id integer, CONSTRAINT dry_slow_fk FOREIGN KEY (id)"
        " REFERENCES dry_parent); INSERT INTO dry_slow SELECT 1 FROM generate_series(1, 200000);"
        f" {REPLICA}; UPDATE dry_parent SET name = 'x' WHERE id = 1"
    )
    finding = next(each for each in found(slow) if each.relation == "dry_slow")
    assert finding.severity == "danger"
    assert finding.evidence == ("dry_slow_fk, without a row of dry_parent: unknown after 5 s",)


ON = {
    "as always": FITS,
    "on again": f"{REPLICA}; SET LOCAL session_replication_role = DEFAULT; {FITS}",
    "only asked for": f"SELECT current_setting('session_replication_role'); {FITS}",
    "of another table": (
        f"ALTER TABLE dry_row DISABLE TRIGGER ALL; {FITS}; ALTER TABLE dry_row ENABLE TRIGGER ALL"
    ),
    "triggers of users": f"ALTER TABLE dry_child DISABLE TRIGGER USER; {FITS}",
    "before they are off": f"{FITS}; {REPLICA}",
    "no foreign key": f"{REPLICA}; UPDATE dry_row SET code = 'x' WHERE id = 1",
    "not valid": (
        "ALTER TABLE dry_child DROP CONSTRAINT dry_child_parent_id_fkey, ADD FOREIGN KEY"
        f" (parent_id) REFERENCES dry_parent NOT VALID; {REPLICA}; {FITS}"
    ),
}


@pytest.mark.parametrize("script", ON.values(), ids=ON.keys())
def test_what_was_checked_is_not_named(script: str) -> None:
    assert found(script) == []


def test_a_setting_that_an_earlier_migration_left_behind() -> None:
    (finding,) = found("SET session_replication_role = replica", WITHOUT_PARENT)
    assert finding.message.startswith("10 rows of dry_child refer to no row")


def test_triggers_that_were_off_before_the_plan() -> None:
    with plain_connection() as plain:
        plain.execute("ALTER TABLE dry_parent DISABLE TRIGGER ALL")
        try:
            (finding,) = found(WITHOUT_PARENT)
        finally:
            plain.execute("ALTER TABLE dry_parent ENABLE TRIGGER ALL")
    assert finding.message.startswith("10 rows of dry_child refer to no row")


def test_partitions_count_as_the_whole() -> None:
    parts = """
        CREATE TABLE dry_whole (id integer PRIMARY KEY) PARTITION BY RANGE (id);
        CREATE TABLE dry_low PARTITION OF dry_whole FOR VALUES FROM (0) TO (10);
        CREATE TABLE dry_high PARTITION OF dry_whole FOR VALUES FROM (10) TO (20);
        INSERT INTO dry_whole SELECT generate_series(0, 19);
        CREATE TABLE dry_user (id integer PRIMARY KEY REFERENCES dry_whole);
        INSERT INTO dry_user SELECT generate_series(0, 19)"""
    with plain_connection() as plain:
        plain.execute(parts)
        try:
            (finding,) = found(f"{REPLICA}; DELETE FROM dry_low WHERE id < 2")
        finally:
            plain.execute("DROP TABLE dry_user, dry_whole")
    assert finding.message.startswith("2 rows of dry_user refer to no row of dry_whole:")


def test_what_was_looked_at_is_not_charged_to_the_next_migration() -> None:
    one = migration(runs(f"{REPLICA}; {WITHOUT_PARENT}"))
    other = migration(runs("CREATE TABLE dry_next (id integer)"))
    report = rehearse(one, other)
    assert report.coverage.unseen == 0
    statements = [s for o in report.migrations[1].operations for s in o.statements]
    assert [(each.sql, each.scans) for each in statements] == [
        ("CREATE TABLE dry_next (id integer)", ())
    ]
