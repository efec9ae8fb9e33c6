"""``cascade-drops-columns``: columns that statements, and code, drop without naming them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from django_confiture.dry_run.results import Finding
from tests.support.dry_run import migration, plain_connection, rehearse, runs

ID = "cascade-drops-columns"
MADE = """
    CREATE SCHEMA dry_types;
    CREATE TYPE dry_mood AS ENUM ('good', 'bad');
    CREATE DOMAIN dry_short AS text;
    CREATE DOMAIN dry_shorter AS dry_short;
    CREATE TYPE dry_types.pair AS (a integer, b integer);
    CREATE TABLE dry_whole (a integer, b integer);
    CREATE EXTENSION citext SCHEMA dry_types;
    CREATE FUNCTION dry_twice(integer) RETURNS integer IMMUTABLE LANGUAGE sql AS 'SELECT 2 * $1';
    CREATE FUNCTION dry_drops() RETURNS void LANGUAGE plpgsql AS
      'BEGIN DROP TYPE dry_mood CASCADE; END';
    CREATE TABLE dry_typed (
      id integer PRIMARY KEY, mood dry_mood, name dry_short, nick dry_shorter, pair dry_types.pair,
      "Ro w" dry_whole, mail dry_types.citext, number integer,
      twice integer GENERATED ALWAYS AS (dry_twice(number)) STORED,
      more integer DEFAULT dry_twice(4));
    CREATE TABLE dry_grown (typed_id integer REFERENCES dry_typed);
    CREATE TABLE dry_parts (id integer, mood dry_mood) PARTITION BY RANGE (id);
    CREATE TABLE dry_part PARTITION OF dry_parts FOR VALUES FROM (0) TO (1000);
    CREATE TABLE dry_unused (mood dry_mood);
    INSERT INTO dry_typed (id, mood, number) SELECT i, 'good', i FROM generate_series(1, 100) i;
    INSERT INTO dry_parts SELECT i, 'good' FROM generate_series(1, 100) i;
"""
DROPPED = """
    DROP SCHEMA dry_types CASCADE;
    DROP TABLE dry_grown, dry_typed, dry_parts, dry_unused, dry_whole;
    DROP TYPE dry_mood; DROP DOMAIN dry_short CASCADE; DROP FUNCTION dry_twice, dry_drops
"""


@pytest.fixture
def _made(scratch: None) -> Iterator[None]:
    with plain_connection() as plain:
        plain.execute(MADE)
        try:
            yield
        finally:
            plain.execute(DROPPED)


def found(*scripts: str) -> list[Finding]:
    """Return the findings of a plan that passes, with one migration for each script."""
    results = rehearse(*(migration(runs(each)) for each in scripts)).migrations
    assert [each.outcome for each in results] == ["passed"] * len(scripts), results[-1].error
    return [each for result in results for each in result.findings if each.id == ID]


@pytest.mark.usefixtures("_made")
@pytest.mark.parametrize(
    ("script", "expected"),
    [
        ("DROP DOMAIN dry_shorter CASCADE", {"dry_typed": "nick"}),
        ("DROP DOMAIN dry_short CASCADE", {"dry_typed": "name and nick"}),
        ("DROP TYPE dry_types.pair CASCADE", {"dry_typed": "pair"}),
        ("DROP TABLE dry_whole CASCADE", {"dry_typed": "Ro w"}),
        ("DROP EXTENSION citext CASCADE", {"dry_typed": "mail"}),
        ("DROP SCHEMA dry_types CASCADE", {"dry_typed": "mail and pair"}),
        ("DROP FUNCTION dry_twice CASCADE", {"dry_typed": "twice"}),
        ("ALTER TABLE dry_typed DROP number CASCADE", {"dry_typed": "twice"}),
        ("DROP TYPE dry_mood CASCADE", {"dry_typed": "mood", "dry_part": "mood"}),
    ],
)
def test_columns_with_rows_that_cascade_drops_are_named(
    script: str, expected: dict[str, str]
) -> None:
    dropped = found(script)

    assert {each.relation: each.message for each in dropped} == {
        table: f"CASCADE drops {columns} of {table} as well, with what "
        f"{'they hold' if ' and ' in columns else 'it holds'}"
        for table, columns in expected.items()
    }
    assert {each.severity for each in dropped} == {"warning"}


@pytest.mark.usefixtures("_made")
@pytest.mark.parametrize(
    "scripts",
    [
        ["ALTER TABLE dry_typed DROP mood"],
        ["ALTER TABLE dry_typed DROP twice, DROP number CASCADE"],
        ["DROP TABLE dry_typed CASCADE"],
        ["ALTER TABLE dry_typed DROP CONSTRAINT dry_typed_pkey CASCADE"],
        ["DROP TABLE dry_typed, dry_parts CASCADE", "DROP TYPE dry_mood CASCADE"],
        ["CREATE TYPE dry_new AS ENUM ('a')", "ALTER TABLE dry_typed ADD new dry_new",
         "DROP TYPE dry_new CASCADE"],
    ],
)  # fmt: skip
def test_no_word_of_what_is_named_new_or_gone_already(scripts: list[str]) -> None:
    assert found(*scripts) == []


def do(body: str) -> str:
    return f"DO $code$ BEGIN {body}; END $code$"


@pytest.mark.usefixtures("_made")
@pytest.mark.parametrize(
    ("script", "expected"),
    [
        (do("DROP DOMAIN dry_short CASCADE"), {"dry_typed": "name and nick are"}),
        (do("EXECUTE 'DROP TYPE ' || 'dry_mood' || ' CASCADE'"),
         {"dry_typed": "mood is", "dry_part": "mood is"}),
        (do("ALTER TABLE dry_typed DROP number CASCADE"), {"dry_typed": "twice is"}),
        ("SELECT dry_drops()", {"dry_typed": "mood is", "dry_part": "mood is"}),
    ],
)  # fmt: skip
def test_columns_with_rows_that_code_drops_unnamed_are_named(
    script: str, expected: dict[str, str]
) -> None:
    dropped = found(script)

    assert {each.relation: each.message for each in dropped} == {
        table: f"{columns.rpartition(' ')[0]} of {table} {columns.rpartition(' ')[2]} dropped, "
        f"with what {'it holds' if columns.endswith('is') else 'they hold'}"
        for table, columns in expected.items()
    }
    assert {each.operation for each in dropped} == {0}
    assert all("takes AccessExclusiveLock" in each.evidence[0] for each in dropped)


@pytest.mark.usefixtures("_made")
@pytest.mark.parametrize(
    "first",
    [
        "ALTER TABLE dry_typed RENAME TO dry_other",
        "ALTER TABLE dry_typed ADD new integer",
        "DROP TABLE dry_grown",  # whose foreign key goes with it
    ],
)
def test_code_is_known_by_what_is_gone_where_the_plan_holds_the_lock_already(first: str) -> None:
    script = do("DROP DOMAIN dry_short CASCADE")
    for scripts in ([first, script], [f"{first}; {script}"]):
        (dropped,) = found(*scripts)
        assert dropped.message == "name and nick of dry_typed are dropped, with what they hold"
        assert dropped.operation == 0


@pytest.mark.usefixtures("_made")
@pytest.mark.parametrize(
    "scripts",
    [
        [do("ALTER TABLE dry_typed DROP mood")],
        [do("ALTER TABLE dry_parts DROP mood")],
        [do("EXECUTE 'ALTER TABLE dry_typed DROP COLUMN mood'")],
        [do("EXECUTE format('ALTER TABLE %I DROP COLUMN %I', 'dry_typed', 'mood')")],
        ["ALTER TABLE dry_typed ADD new integer", do("ALTER TABLE dry_typed DROP mood")],
        [do("DROP TABLE dry_typed CASCADE")],
        [do("ALTER TABLE dry_typed RENAME mood TO humor"), "ALTER TABLE dry_typed DROP humor"],
        [do("ALTER TABLE dry_typed RENAME mood TO humor; ALTER TABLE dry_typed DROP humor")],
        ["ALTER TABLE dry_typed RENAME mood TO humor; ALTER TABLE dry_typed DROP humor"],
        ["ALTER TABLE dry_typed RENAME TO dry_other", "ALTER TABLE dry_other DROP mood"],
        ["ALTER TABLE dry_typed RENAME TO dry_old; CREATE TABLE dry_typed (id integer)"],
        [("CREATE TABLE dry_next (id integer); DROP TABLE dry_typed CASCADE;"
          "ALTER TABLE dry_next RENAME TO dry_typed")],
        [do("CREATE TABLE dry_next AS SELECT id FROM dry_typed; DROP TABLE dry_typed CASCADE")],
        ["ALTER TABLE dry_typed ADD new integer", do("ALTER TABLE dry_typed DROP new")],
        ["CREATE TYPE dry_new AS ENUM ('a'); ALTER TABLE dry_typed ADD new dry_new",
         do("DROP TYPE dry_new CASCADE")],
    ],
)  # fmt: skip
def test_no_word_of_what_code_names(scripts: list[str]) -> None:
    assert found(*scripts) == []
