"""What the watch over the schema asks the server for, and that it misses nothing."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

import pytest
from django.db import connection

from django_confiture.dry_run.measuring.schema.schema_diff import SchemaWatch
from django_confiture.dry_run.measuring.schema.schema_objects import Owner, Schema
from django_confiture.dry_run.measuring.schema.undone_reading import UndoneReading
from django_confiture.dry_run.results import MigrationResult, SchemaChange
from django_confiture.dry_run.server.side_channel import Session

pytestmark = pytest.mark.usefixtures("untouched")

MANY = 60
"""More sequences than a migration mostly makes."""

COMMENT = "COMMENT ON COLUMN watched.name IS {}"
"""Without a text it deletes a row of pg_description, and of no other catalog that is counted."""

COUNTED = re.compile(r"count\(\*\) AS number FROM pg_catalog\.(\w+)")
"""A catalog whose rows are counted."""

ANSWERED = re.compile(r"\tB\t\d+\tDataRow\b")
"""A row that the server sends."""


GONE_THROUGH = """
SELECT pg_stat_get_xact_numscans('pg_index'::regclass),
  pg_stat_get_xact_numscans('pg_class'::regclass)
"""
"""How often the session has read all of these catalogs, row by row."""


@pytest.fixture
def session() -> Iterator[Session]:
    connection.ensure_connection()
    found = Session(connection.connection)
    found.query("BEGIN")
    found.query("CREATE TABLE watched (id integer PRIMARY KEY, name text, number integer)")
    yield found
    found.query("ROLLBACK")


@pytest.fixture
def watch(session: Session) -> Iterator[SchemaWatch]:
    found = SchemaWatch(session)
    yield found
    found.close()


def in_savepoint(session: Session, *statements: str) -> None:
    session.script(f"SAVEPOINT step; {'; '.join(statements)}; RELEASE SAVEPOINT step")


def named(changes: tuple[SchemaChange, ...]) -> list[tuple[str, str, str]]:
    return [(each.kind, each.object, each.name) for each in changes]


def as_text(schema: Schema) -> set[tuple[str, str, str, str]]:
    return {(o.kind, o.key, o.name, o.definition) for each in schema.values() for o in each}


def result(session: Session, watch: SchemaWatch) -> MigrationResult:
    return watch.noted(MigrationResult("cases", "0001", "0001", "forward", "passed"))


LOST = {
    "an index": ("CREATE INDEX gone ON watched (name)", "DROP INDEX gone"),
    "a constraint": (
        "ALTER TABLE watched ADD CONSTRAINT gone UNIQUE (name)",
        "ALTER TABLE watched DROP CONSTRAINT gone",
    ),
    "a table": ("CREATE TABLE gone (id integer)", "DROP TABLE gone"),
    "a view": ("CREATE VIEW gone AS SELECT 1 AS one", "DROP VIEW gone"),
    "a sequence": ("CREATE SEQUENCE gone", "DROP SEQUENCE gone"),
    "a type": ("CREATE TYPE gone AS ENUM ('a')", "DROP TYPE gone"),
    "a function": (
        "CREATE FUNCTION gone() RETURNS integer LANGUAGE sql AS 'SELECT 1'",
        "DROP FUNCTION gone",
    ),
    "a policy": ("CREATE POLICY gone ON watched", "DROP POLICY gone ON watched"),
    "a trigger": (
        (
            "CREATE TRIGGER gone BEFORE UPDATE ON watched FOR EACH ROW"
            " EXECUTE FUNCTION suppress_redundant_updates_trigger()"
        ),
        "DROP TRIGGER gone ON watched",
    ),
}


@pytest.mark.parametrize("name", LOST)
def test_what_is_dropped_leaves_no_row_and_is_seen(
    name: str, session: Session, watch: SchemaWatch
) -> None:
    made, dropped = LOST[name]
    in_savepoint(session, made)
    assert [kind for kind, _object, _name in named(watch.changes())][:1] == ["added"]
    in_savepoint(session, dropped)
    changes = named(watch.changes())
    assert changes
    assert {kind for kind, _object, _name in changes} == {"removed"}
    assert as_text(watch._schema) == as_text(watch.now())


@pytest.mark.parametrize("name", LOST)
def test_what_is_dropped_after_other_catalogs_were_counted_is_seen(
    name: str, session: Session, watch: SchemaWatch
) -> None:
    made, dropped = LOST[name]
    in_savepoint(session, made)
    watch.changes()
    in_savepoint(session, COMMENT.format("'some'"), COMMENT.format("NULL"))
    watch.changes()
    in_savepoint(session, dropped)
    assert {kind for kind, _object, _name in named(watch.changes())} == {"removed"}
    assert as_text(watch._schema) == as_text(watch.now())


def test_rows_are_counted_only_in_the_catalogs_that_lost_some(
    session: Session, watch: SchemaWatch, tmp_path: Path
) -> None:
    many(session, "other")
    for text in "NULL", "'some'":
        in_savepoint(session, COMMENT.format("'other'"), COMMENT.format(text))
        watch.changes()
    in_savepoint(session, COMMENT.format("NULL"))
    changes, trace = traced(session, watch, tmp_path / "trace")
    assert named(changes) == [("changed", "column", "name")]
    assert COUNTED.findall(trace) == ["pg_description"]
    assert len(ANSWERED.findall(trace)) < MANY / 2


def traced(
    session: Session, watch: SchemaWatch, path: Path
) -> tuple[tuple[SchemaChange, ...], str]:
    """Return what has changed, and what the driver sent and got to find it."""
    with path.open("w") as trace:
        session.raw.pgconn.trace(trace.fileno())
        changes = watch.changes()
        session.raw.pgconn.untrace()
    return changes, path.read_text()


WRITES_ANOTHER = {
    "a default": (
        "ALTER TABLE watched ALTER number SET DEFAULT 3",
        "ALTER TABLE watched ALTER number DROP DEFAULT",
        ("changed", "column", "number"),
    ),
    "the owner of a sequence": (
        "CREATE SEQUENCE owned OWNED BY watched.number",
        "ALTER SEQUENCE owned OWNED BY NONE",
        ("changed", "sequence", "owned"),
    ),
}


@pytest.mark.parametrize("name", WRITES_ANOTHER)
def test_rows_that_go_only_where_another_is_written_are_not_counted(
    name: str, session: Session, watch: SchemaWatch, tmp_path: Path
) -> None:
    before, statement, change = WRITES_ANOTHER[name]
    in_savepoint(session, before)
    watch.changes()
    in_savepoint(session, statement)
    changes, trace = traced(session, watch, tmp_path / "trace")
    assert named(changes) == [change]
    assert COUNTED.findall(trace) == []
    assert as_text(watch._schema) == as_text(watch.now())


def test_one_thing_made_and_another_dropped_are_both_seen(
    session: Session, watch: SchemaWatch
) -> None:
    in_savepoint(session, "CREATE INDEX one ON watched (name)")
    watch.changes()
    in_savepoint(session, "DROP INDEX one", "CREATE TABLE other (id integer)")
    assert ("removed", "index", "one") in named(watch.changes())
    assert as_text(watch._schema) == as_text(watch.now())


def test_no_catalog_is_gone_through_to_find_what_belongs_to_a_row(
    session: Session, watch: SchemaWatch
) -> None:
    """What is prepared was planned while the catalogs were smaller than they are later."""
    in_savepoint(session, "CREATE TABLE early (id integer PRIMARY KEY)")
    watch.changes()
    in_savepoint(session, *(f"CREATE TABLE late_{i} (id integer PRIMARY KEY)" for i in range(9)))
    before = session.query(GONE_THROUGH)
    assert len(named(watch.changes())) == 27
    assert session.query(GONE_THROUGH) == before


def test_what_is_rolled_back_is_no_change(session: Session, watch: SchemaWatch) -> None:
    session.script("SAVEPOINT step; CREATE TABLE undone (id integer); ROLLBACK TO SAVEPOINT step")
    assert watch.changes() == ()


@pytest.mark.parametrize("number", [7, MANY])
def test_what_an_earlier_migration_made_is_not_read_again(
    number: int, session: Session, watch: SchemaWatch, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []
    original: Any = watch._read_owners

    def read(owners: Collection[Owner], reading: UndoneReading) -> tuple[Schema, str]:
        asked.append(len(owners))
        found: tuple[Schema, str] = original(owners, reading)
        return found

    monkeypatch.setattr(watch, "_read_owners", read)
    for each in range(6):
        many(session, f"many_{each}", number)
        assert len(watch.changes()) == number
    assert max(asked) == number + 1  # and the table, which was made outside of any savepoint


def many(session: Session, name: str, number: int = MANY) -> None:
    in_savepoint(session, *(f"CREATE SEQUENCE {name}_{each}" for each in range(number)))


def test_what_a_migration_changes_before_and_after_it_calls_migrate_is_seen(
    session: Session, watch: SchemaWatch
) -> None:
    """Its part of the transaction is older than the inner ones, and than what was read since."""
    watch.migration_begins()
    session.query("SAVEPOINT outer_one")
    session.query("ALTER TABLE watched ADD before integer")
    watch.migration_begins()
    many(session, "inner")
    assert ("added", "column", "before") in named(result(session, watch).schema_changes)
    watch.migration_begins()
    many(session, "other")
    assert len(result(session, watch).schema_changes) == MANY
    session.query("ALTER TABLE watched ALTER name SET NOT NULL")  # an update: no row more or less
    session.query("RELEASE SAVEPOINT outer_one")
    assert named(result(session, watch).schema_changes) == [("changed", "column", "name")]
    assert as_text(watch._schema) == as_text(watch.now())
    many(session, "later")
    assert len(watch.changes()) == MANY


def test_what_a_migration_undoes_of_one_that_it_called_is_seen(
    session: Session, watch: SchemaWatch
) -> None:
    watch.migration_begins()
    session.query("SAVEPOINT outer_one")
    watch.migration_begins()
    in_savepoint(session, "ALTER TABLE watched ALTER name SET NOT NULL")
    result(session, watch)
    session.query("ROLLBACK TO SAVEPOINT outer_one")
    (change,) = result(session, watch).schema_changes
    assert (change.before, change.after) == ("text NOT NULL", "text")


def test_what_is_written_outside_of_any_savepoint_is_seen(
    session: Session, watch: SchemaWatch
) -> None:
    many(session, "earlier")
    watch.changes()
    session.query("ALTER TABLE watched ALTER name SET NOT NULL")  # older than what was read
    assert named(watch.changes()) == [("changed", "column", "name")]


def test_a_role_that_may_not_write_to_the_wal_misses_nothing(session: Session) -> None:
    session.query(
        "REVOKE EXECUTE ON FUNCTION pg_catalog.pg_logical_emit_message(boolean, text, text"
        + (", boolean" if session.raw.info.server_version >= 170000 else "")
        + ") FROM PUBLIC"
    )
    session.query("CREATE ROLE confiture_watcher NOSUPERUSER")
    session.query("GRANT CREATE, USAGE ON SCHEMA public TO confiture_watcher")
    session.query("ALTER TABLE watched OWNER TO confiture_watcher")
    session.query("SET LOCAL ROLE confiture_watcher")
    watch = SchemaWatch(session)
    for number in range(3):
        many(session, f"many_{number}")
        assert len(watch.changes()) == MANY
    watch.close()


def test_the_driver_may_drop_what_is_prepared(session: Session, watch: SchemaWatch) -> None:
    session.query("DEALLOCATE ALL")
    in_savepoint(session, "CREATE TABLE after_that (id integer)")
    assert ("added", "table", "after_that") in named(watch.changes())


def test_where_nothing_is_counted_changes_are_seen_all_the_same(
    session: Session, watch: SchemaWatch
) -> None:
    session.query("SET LOCAL track_counts = off")
    in_savepoint(session, "CREATE TABLE uncounted (id integer)")
    assert ("added", "table", "uncounted") in named(watch.changes())


# Where a plan tells what it can change, only that is read before.


@pytest.fixture
def some(session: Session) -> Iterator[SchemaWatch]:
    """Watch a database of which only one table is read first; dry_row is among the others."""
    found = SchemaWatch(session, [int(session.value("SELECT 'watched'::regclass::oid"))])
    yield found
    found.close()


def test_what_is_read_first_is_what_a_plan_can_change(session: Session, some: SchemaWatch) -> None:
    in_savepoint(session, "ALTER TABLE watched ADD more integer", "CREATE TABLE new (id integer)")
    assert named(some.changes()) == [
        ("added", "table", "new"),
        ("added", "column", "id"),
        ("added", "column", "more"),
    ]
    assert "dry_row" not in {name for _kind, _key, name, _text in as_text(some._schema)}


def test_what_changes_though_nothing_named_it_is_said(session: Session, some: SchemaWatch) -> None:
    in_savepoint(session, "ALTER TABLE watched ADD more integer", "ALTER TABLE dry_row DROP name")
    found = result(session, some)
    assert named(found.schema_changes) == [("added", "column", "more")]
    assert found.warnings == (
        "What it changed in dry_row is not known: no operation of the plan names it.",
    )
    in_savepoint(session, "ALTER TABLE dry_row ADD again integer")
    found = result(session, some)
    assert (named(found.schema_changes), found.warnings) == ([("added", "column", "again")], ())


def test_the_rest_is_read_where_it_is_asked_for(session: Session, some: SchemaWatch) -> None:
    before = as_text(some.now())
    in_savepoint(session, "ALTER TABLE watched ADD more integer")
    some.changes()
    assert as_text(some.first) == before
    in_savepoint(session, "DROP TABLE dry_row")
    assert ("removed", "table", "dry_row") in named(some.changes())


def test_all_is_read_before_a_migration_inside_another(session: Session, some: SchemaWatch) -> None:
    some.migration_begins()
    some.migration_begins()
    in_savepoint(session, "ALTER TABLE dry_row ADD more integer")
    assert named(result(session, some).schema_changes) == [("added", "column", "more")]


def test_what_the_transaction_made_before_is_read_first(session: Session) -> None:
    """Its rows are as new as what a migration writes outside of a savepoint."""
    watch = SchemaWatch(session, [])
    in_savepoint(session, "CREATE TABLE new (id integer)")
    found = result(session, watch)
    assert (named(found.schema_changes)[0], found.warnings) == (("added", "table", "new"), ())
    watch.close()
