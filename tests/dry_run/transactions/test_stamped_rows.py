"""Rows that a default stamps with now(): where the same time in all migrations matters."""

from __future__ import annotations

import pytest
from django.db.migrations import Migration

from tests.cases.migrations_on_disk import query
from tests.support.dry_run import for_real, migration, plain_connection, python, rehearse, runs

STAMPED = "CREATE TABLE dry_stamped (id int, at timestamptz DEFAULT now())"

STAMPS = """
    CREATE TABLE dry_unique (id int, at timestamptz DEFAULT CURRENT_TIMESTAMP);
    CREATE UNIQUE INDEX dry_at ON dry_unique (at);
    CREATE UNIQUE INDEX dry_id ON dry_unique (id);
"""
FIRST, SECOND = (f"INSERT INTO dry_stamped VALUES ({number})" for number in (2, 1))
EARLIEST = "UPDATE dry_row SET number = (SELECT id FROM dry_stamped ORDER BY at, id LIMIT 1)"


@pytest.fixture(autouse=True)
def _stamped(scratch: None) -> None:
    with plain_connection() as plain:
        plain.execute(STAMPED)


def in_turn(*scripts: str) -> list[Migration]:
    return [migration(runs(text), name=f"{n:04}_x") for n, text in enumerate(scripts)]


def reasons(*scripts: str) -> list[str]:
    """Return why an operation of migrations, each of one script, is not exact; ``""`` if it is."""
    results = rehearse(*in_turn(*scripts)).migrations
    return [operation.reason for each in results for operation in each.operations]


@pytest.mark.parametrize(
    "reads",
    [
        EARLIEST,
        "SELECT count(DISTINCT at) FROM dry_stamped",
        "SELECT id, at FROM dry_stamped ORDER BY 2",
        "DELETE FROM dry_stamped a USING dry_stamped b WHERE a.at < b.at",
        "SELECT DISTINCT at FROM dry_stamped",
        "SELECT count(*) FROM (SELECT DISTINCT * FROM dry_stamped) rows",
        "SELECT at FROM dry_stamped GROUP BY 1",
        "SELECT at FROM dry_stamped UNION SELECT at FROM dry_stamped",
    ],
)
def test_what_compares_stamps_of_two_migrations_is_not_exact(reads: str) -> None:
    *earlier, later = reasons(FIRST, SECOND, reads)

    assert not any(earlier)
    assert "has stamped rows of two migrations" in later


@pytest.mark.parametrize(
    "reads",
    [
        "SELECT id, at FROM dry_stamped ORDER BY id",
        "SELECT count(*) FROM dry_stamped",
        "SELECT DISTINCT id FROM dry_stamped",
        "SELECT at FROM dry_stamped UNION ALL SELECT at FROM dry_stamped",
        "UPDATE dry_stamped SET id = id + 1",
        "UPDATE dry_row SET number = 1",
        "CREATE INDEX ON dry_stamped (at)",
    ],
)
def test_what_only_reads_stamps_is_exact(reads: str) -> None:
    assert reasons(FIRST, SECOND, reads) == ["", "", ""]


def test_rows_that_are_only_changed_keep_their_stamps() -> None:
    changes = "UPDATE dry_stamped SET id = id + 1"

    assert reasons(FIRST, changes, "DELETE FROM dry_stamped WHERE at > '2001-01-01'") == [""] * 3


BY_TRIGGER = """
    CREATE TABLE dry_touched (id int, at timestamptz, note text);
    CREATE TABLE dry_audit (id int, noted timestamp);
    CREATE FUNCTION dry_touches() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
      new.at := now(); INSERT INTO dry_audit VALUES (new.id, new.at); RETURN new; END $$;
    CREATE TRIGGER dry_touches BEFORE INSERT OR UPDATE ON dry_touched
      FOR EACH ROW EXECUTE FUNCTION dry_touches();
"""
TOUCHES = tuple(f"INSERT INTO dry_touched (id) VALUES ({number})" for number in (1, 2))


@pytest.fixture
def _by_trigger() -> None:
    with plain_connection() as plain:
        plain.execute(BY_TRIGGER)


@pytest.mark.usefixtures("_by_trigger")
@pytest.mark.parametrize(
    "reads",
    [
        "SELECT id FROM dry_touched ORDER BY at, id",
        "UPDATE dry_row SET number = (SELECT count(DISTINCT noted) FROM dry_audit)",
    ],
)
def test_stamps_of_a_trigger_count_as_well(reads: str) -> None:
    changes = "UPDATE dry_touched SET note = ''"

    assert ["stamped rows" in each for each in reasons(*TOUCHES, reads)] == [False, False, True]
    assert ["stamped rows" in each for each in reasons(TOUCHES[0], changes, reads)][2]


@pytest.mark.usefixtures("_by_trigger")
def test_what_no_trigger_stamps_is_exact() -> None:
    reads = ("SELECT id FROM dry_touched ORDER BY note", "SELECT noted FROM dry_audit")

    assert reasons(*TOUCHES, *reads) == [""] * 4


@pytest.mark.usefixtures("_by_trigger")
def test_a_unique_stamp_of_a_trigger_stops_the_dry_run() -> None:
    plan = in_turn("CREATE UNIQUE INDEX dry_noted ON dry_audit (noted)", *TOUCHES)

    report = rehearse(*plan)

    assert report.verdict == "stopped"
    assert "The unique index dry_noted covers" in report.migrations[-1].operations[0].reason
    assert for_real(*plan) == ""


def test_the_order_of_stamps_differs_for_real() -> None:
    seen: list[int] = []
    note = python(lambda: seen.append(query("SELECT number FROM dry_row LIMIT 1")[0][0]))

    rehearse(*in_turn(FIRST, SECOND, EARLIEST), migration(note, name="0009_note"))
    for_real(*in_turn(FIRST, SECOND, EARLIEST), migration(note, name="0009_note"))

    assert seen == [1, 2]


@pytest.mark.parametrize("atomic", [True, False])
def test_a_unique_stamp_stops_the_dry_run_and_is_not_called_a_failure(atomic: bool) -> None:
    with plain_connection() as plain:
        plain.execute(STAMPS)
    texts = ("INSERT INTO dry_unique VALUES (1)", "INSERT INTO dry_unique VALUES (2)")

    def plan() -> list[Migration]:
        if not atomic:
            return [migration(*map(runs, texts), atomic=False)]
        return in_turn(*texts)

    report = rehearse(*plan())

    last = report.migrations[-1]
    assert (last.outcome, report.verdict) == ("not_run", "stopped")
    assert "The unique index dry_at covers a column" in last.operations[-1].reason
    assert any("stamped rows of two migrations" in each for each in report.warnings)
    assert for_real(*plan()) == ""


def test_a_new_unique_index_of_stamps_stops_the_dry_run() -> None:
    plan = in_turn(FIRST, SECOND, "CREATE UNIQUE INDEX ON dry_stamped (at)")

    report = rehearse(*plan)

    assert report.verdict == "stopped"
    assert "The new unique index of dry_stamped" in report.migrations[-1].operations[0].reason
    assert for_real(*plan) == ""


def test_another_unique_index_of_the_table_still_fails() -> None:
    with plain_connection() as plain:
        plain.execute(STAMPS)
    texts = (
        "INSERT INTO dry_unique VALUES (1)",
        "INSERT INTO dry_unique VALUES (1, '2001-01-01')",
    )

    report = rehearse(*in_turn(*texts))

    assert report.migrations[-1].outcome == "failed"
    assert 'violates unique constraint "dry_id"' in for_real(*in_turn(*texts))


INTO_UNIQUE = [f"INSERT INTO dry_unique (id) VALUES ({number})" for number in (1, 2)]


@pytest.mark.parametrize(
    "makes",
    [
        f"{STAMPS}",
        "CREATE TABLE dry_unique (LIKE dry_stamped INCLUDING DEFAULTS, UNIQUE (at))",
        "CREATE TABLE dry_unique (UNIQUE (at)) INHERITS (dry_stamped)",
        (
            "CREATE TABLE dry_unique (id int, UNIQUE (id));"
            "ALTER TABLE dry_unique ADD at timestamptz DEFAULT now() UNIQUE"
        ),
        (
            "CREATE TABLE dry_unique (LIKE dry_stamped INCLUDING DEFAULTS);"
            "ALTER TABLE dry_unique ADD UNIQUE (at)"
        ),
        (
            "CREATE TABLE dry_unique (id int, at timestamptz UNIQUE);"
            "ALTER TABLE dry_unique ALTER at SET DEFAULT LOCALTIMESTAMP"
        ),
        "ALTER TABLE dry_stamped ADD UNIQUE (at); ALTER TABLE dry_stamped RENAME TO dry_unique",
    ],
)
def test_a_stamp_is_known_however_it_was_made(makes: str) -> None:
    """What is stamped was asked for before: each migration fills ``django_migrations``."""
    nothing = "SELECT 1"
    (*_earlier, last) = rehearse(*in_turn(nothing, nothing, makes, *INTO_UNIQUE)).migrations
    assert last.outcome == "not_run"
    assert any("covers a column that is filled with now()" in e.reason for e in last.operations)
