"""What is made unless it is there: if it is there and differs, the report says so."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from django_confiture.dry_run.results import Finding
from tests.support.dry_run import migration, plain_connection, rehearse, runs

MADE = """
    CREATE TABLE dry_priced (
      id integer PRIMARY KEY, price integer CONSTRAINT dry_positive CHECK (price > 0),
      parent_id integer CONSTRAINT dry_of_parent REFERENCES dry_parent,
      CONSTRAINT dry_one UNIQUE (price));
    CREATE INDEX dry_by_price ON dry_priced (price);
    CREATE TYPE dry_mood AS ENUM ('good', 'it''s bad');
    CREATE SEQUENCE dry_numbers INCREMENT 5;
    CREATE MATERIALIZED VIEW dry_prices AS SELECT id, price FROM dry_priced;
"""
DROPPED = "DROP MATERIALIZED VIEW IF EXISTS dry_prices; DROP SEQUENCE IF EXISTS dry_numbers"


@pytest.fixture
def _made(scratch: None) -> Iterator[None]:
    with plain_connection() as plain:
        plain.execute(MADE)
        try:
            yield
        finally:
            plain.execute(DROPPED)


def unless_there(statement: str, error: str = "duplicate_object") -> str:
    """Return a DO block that goes on where the object is there."""
    return f"DO $$ BEGIN {statement}; EXCEPTION WHEN {error} THEN NULL; END $$"


def add(constraint: str) -> str:
    return f"ALTER TABLE dry_priced ADD CONSTRAINT {constraint}"


def skipped(script: str) -> list[Finding]:
    """Return the findings of a migration that passes."""
    (result,) = rehearse(migration(runs(script))).migrations
    assert result.outcome == "passed", result.error
    return [each for each in result.findings if each.id == "if-not-exists-skips"]


ASKS_FIRST = """DO $$ BEGIN
  IF NOT EXISTS (SELECT FROM pg_constraint WHERE conname = 'dry_positive') THEN
    ALTER TABLE dry_priced ADD CONSTRAINT dry_positive CHECK (price > 10);
  END IF;
END $$"""

OTHERS = {
    "check": (unless_there(add("dry_positive CHECK (price > 10)")), "CHECK ((price > 0))"),
    "check, asked for first": (ASKS_FIRST, "CHECK ((price > 0))"),
    "unique": (unless_there(add("dry_one UNIQUE (id)"), "duplicate_table"), "UNIQUE (price)"),
    "foreign key": (
        unless_there(add("dry_of_parent FOREIGN KEY (price) REFERENCES dry_parent (id)")),
        "FOREIGN KEY (parent_id)",
    ),
    "index": (
        unless_there("CREATE INDEX dry_by_price ON dry_priced (id)", "duplicate_table"),
        "INDEX USING btree (price)",
    ),
    "column": (
        unless_there("ALTER TABLE dry_priced ADD COLUMN price bigint", "duplicate_column"),
        "integer",
    ),
    "table": (
        unless_there("CREATE TABLE dry_priced (id bigint)", "duplicate_table"),
        "price integer",
    ),
    "type": (unless_there("CREATE TYPE dry_mood AS ENUM ('good')"), "'good', 'it''s bad'"),
    "sequence": ("CREATE SEQUENCE IF NOT EXISTS dry_numbers", "INCREMENT 5"),
    "materialized view": (
        "CREATE MATERIALIZED VIEW IF NOT EXISTS dry_prices AS SELECT id FROM dry_priced",
        "price",
    ),
    "materialized view, not a table": (
        "CREATE TABLE IF NOT EXISTS dry_prices AS SELECT id, price FROM dry_priced",
        "price integer",
    ),
    "extension": ("CREATE EXTENSION IF NOT EXISTS plpgsql VERSION '0.9'", "version 1.0"),
}


@pytest.mark.usefixtures("_made")
@pytest.mark.parametrize(("script", "there"), OTHERS.values(), ids=OTHERS.keys())
def test_another_object_is_there(script: str, there: str) -> None:
    (finding,) = skipped(script)

    assert there in finding.evidence[0]
    maker = "The DO block" if script.startswith("DO") else "IF NOT EXISTS"
    assert finding.message.startswith(f"{maker} makes nothing: the ")


SAME = {
    "check": unless_there(add("dry_positive CHECK (price > 0)")),
    "unique": unless_there(add("dry_one UNIQUE (price)"), "duplicate_table"),
    "foreign key": unless_there(
        add('dry_of_parent FOREIGN KEY ("parent_id") REFERENCES public.dry_parent (id)')
    ),
    "a new constraint": unless_there(add("dry_new CHECK (price > 10)")),
    "type": unless_there("CREATE TYPE dry_mood AS ENUM ('good', 'it''s bad')"),
    "a new type": unless_there("CREATE TYPE dry_new AS ENUM ('good')"),
    "sequence": "CREATE SEQUENCE IF NOT EXISTS dry_numbers INCREMENT 5 OWNED BY dry_priced.id",
    "materialized view": "CREATE MATERIALIZED VIEW IF NOT EXISTS dry_prices AS"
    " SELECT id, price FROM public.dry_priced",
    "extension": "CREATE EXTENSION IF NOT EXISTS plpgsql",
    "dropped before": "ALTER TABLE dry_priced DROP CONSTRAINT dry_positive; "
    + unless_there(add("dry_positive CHECK (price > 10)")),
}


@pytest.mark.usefixtures("_made")
@pytest.mark.parametrize("script", SAME.values(), ids=SAME.keys())
def test_what_was_asked_for_is_there(script: str) -> None:
    assert skipped(script) == []


KINDS = """
    CREATE UNLOGGED TABLE dry_unlogged (id integer);
    CREATE TABLE dry_parts (id integer) PARTITION BY RANGE (id);
    CREATE TABLE dry_part (id integer);
    CREATE TABLE dry_attached PARTITION OF dry_parts FOR VALUES FROM (1) TO (5);
    CREATE VIEW dry_shown AS SELECT 1 AS id;
"""


@pytest.mark.usefixtures("_made")
@pytest.mark.parametrize("what", ["COLUMN noted int", "CONSTRAINT noted CHECK (id > 0)"])
@pytest.mark.parametrize("block", ["IF false THEN {}; END IF", "BEGIN {}; {}; {} END"])
def test_nothing_is_there_where_code_did_not_run_or_undid_it(block: str, what: str) -> None:
    add = f"ALTER TABLE dry_priced ADD {what}"
    undone = "EXCEPTION WHEN division_by_zero THEN NULL;"
    assert skipped(f"DO $$ BEGIN {block.format(add, 'PERFORM 1/0', undone)}; END $$") == []


@pytest.mark.parametrize(
    ("statement", "evidence"),
    [
        ("TABLE IF NOT EXISTS dry_unlogged (id integer)", ["unlogged table", "table"]),
        (
            "TABLE IF NOT EXISTS dry_part PARTITION OF dry_parts FOR VALUES FROM (5) TO (9)",
            ["table", "table partition of dry_parts"],
        ),
        (
            "TABLE IF NOT EXISTS dry_part (id integer) PARTITION BY RANGE (id)",
            ["table", "partitioned table"],
        ),
        ("TABLE IF NOT EXISTS dry_shown (id integer)", ["no table at all", "table"]),
        ("TABLE IF NOT EXISTS dry_attached (id integer)", []),
        (
            "TABLE IF NOT EXISTS dry_attached PARTITION OF dry_parts FOR VALUES FROM (1) TO (5)",
            [],
        ),
        (
            (
                "TABLE IF NOT EXISTS dry_made (id integer); ALTER TABLE dry_parts"
                " ATTACH PARTITION dry_made FOR VALUES FROM (9) TO (12)"
            ),
            [],
        ),
        ("TEMP TABLE IF NOT EXISTS dry_mine (id integer)", []),
    ],
)
def test_a_table_of_another_kind(scratch: None, statement: str, evidence: list[str]) -> None:
    with plain_connection() as plain:
        plain.execute(KINDS)
        try:
            found = skipped(f"CREATE {statement}")
        finally:
            plain.execute(
                "DROP VIEW dry_shown; DROP TABLE dry_unlogged, dry_parts, dry_part CASCADE"
            )

    assert [each.evidence for each in found] == (
        [(f"there: {evidence[0]}", f"asked for: {evidence[1]}")] if evidence else []
    )
