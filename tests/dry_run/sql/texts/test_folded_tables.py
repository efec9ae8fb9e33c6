"""Statements that are folded into one CREATE TABLE make what it makes, by PostgreSQL's catalogs."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from django_confiture.dry_run.measuring.schema.schema_diff import read_relations
from django_confiture.dry_run.server.side_channel import Session
from django_confiture.dry_run.sql.texts.folded_tables import folded
from tests.support.dry_run import plain_connection

MADE = "CREATE TABLE t (id bigint NOT NULL PRIMARY KEY, n integer NOT NULL, c varchar(9) NULL)"
INDEX = "CREATE INDEX t_c ON t (c varchar_pattern_ops)"
ADD = "ALTER TABLE t ADD COLUMN "

SAME: dict[str, tuple[list[str], list[str]]] = {
    "nothing": ([MADE, INDEX], [MADE, INDEX]),
    "column": (
        [MADE, f"{ADD} more text NULL"],
        [MADE.replace("c varchar", "more text NULL, c varchar")],
    ),
    "default that is dropped": (
        [MADE, f"{ADD} d int DEFAULT 1 NOT NULL", "ALTER TABLE t ALTER d DROP DEFAULT"],
        [MADE.replace("c varchar", "d int NOT NULL, c varchar")],
    ),
    "default for a moment": (
        [MADE, "ALTER TABLE t ALTER n SET DEFAULT 1", "ALTER TABLE t ALTER n DROP DEFAULT"],
        [MADE],
    ),
    "default that stays": (
        [MADE, f"{ADD} d int DEFAULT 1 NOT NULL"],
        [MADE.replace("c varchar", "d int DEFAULT 1 NOT NULL, c varchar")],
    ),
    "not null": (
        [MADE, "ALTER TABLE t ALTER c SET NOT NULL, ALTER n DROP NOT NULL"],
        ["CREATE TABLE t (id bigint NOT NULL PRIMARY KEY, n integer, c varchar(9) NOT NULL)"],
    ),
    "type": (
        [MADE, INDEX, "ALTER TABLE t ALTER n TYPE bigint USING n::bigint, ALTER c TYPE text"],
        ["CREATE TABLE t (id bigint NOT NULL PRIMARY KEY, n bigint NOT NULL, c text)", INDEX],
    ),
}  # fmt: skip

KEY = "ALTER TABLE t ADD CONSTRAINT t_k FOREIGN KEY (n) REFERENCES t (id)"
SAME["type beside a key"] = (
    [MADE, KEY, "ALTER TABLE t ALTER c TYPE text"],
    [MADE.replace("varchar(9)", "text"), KEY],
)

LEFT: dict[str, list[str]] = {
    "no table": [INDEX],
    "a new default": [MADE, "ALTER TABLE t ALTER n SET DEFAULT 1"],
    "a type under a default": [
        MADE.replace("n integer", "n integer DEFAULT 1"), "ALTER TABLE t ALTER n TYPE bigint"],
    "a type under a check": [
        MADE, "ALTER TABLE t ADD CHECK (n > 0)", "ALTER TABLE t ALTER n TYPE bigint"],
    "a type under a foreign key": [MADE, KEY, "ALTER TABLE t ALTER n TYPE bigint"],
    "a type under a partial index": [
        MADE, f"{INDEX} WHERE n > 0", "ALTER TABLE t ALTER n TYPE bigint"],
    "a type under an index of an expression": [
        MADE, "CREATE INDEX ON t ((n + 1))", "ALTER TABLE t ALTER n TYPE bigint"],
    "the default of a serial": [
        MADE.replace("n integer", "n serial"), "ALTER TABLE t ALTER n DROP DEFAULT"],
    "the type of a key": [MADE, "ALTER TABLE t ALTER id TYPE integer"],
    "a column that may be there": [MADE, f"{ADD} IF NOT EXISTS n integer NOT NULL"],
    "a column with a key": [MADE, f"{ADD} o bigint REFERENCES t (id)"],
    "a collation": [MADE, 'ALTER TABLE t ALTER c TYPE varchar(9) COLLATE "C"'],
    "not null with a name": [
        MADE.replace("n integer NOT", "n integer CONSTRAINT other NOT"),
        "ALTER TABLE t ALTER n DROP NOT NULL"],
}  # fmt: skip


def made(statements: Sequence[str], schema: str) -> set[tuple[str, str, str]]:
    """Return what PostgreSQL says of the table and all that it owns."""
    with plain_connection() as plain, plain.transaction(force_rollback=True):
        plain.execute(f"CREATE SCHEMA {schema}; SET LOCAL search_path = {schema}")
        for each in statements:
            plain.execute(each)
        session = Session(plain)
        oid = int(session.value("SELECT 't'::regclass::oid"))
        return {
            (each.kind, each.name, each.definition) for each in read_relations(session, [oid])[oid]
        }


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(("sent", "wanted"), SAME.values(), ids=SAME.keys())
def test_what_is_folded_makes_the_same(sent: list[str], wanted: list[str]) -> None:
    assert folded(sent) == folded(wanted) is not None
    assert made(sent, "folded") == made(wanted, "folded")
    assert made(folded(sent) or [], "folded") == made(wanted, "folded")


@pytest.mark.parametrize("statements", LEFT.values(), ids=LEFT.keys())
def test_what_the_texts_do_not_tell_is_not_folded(statements: list[str]) -> None:
    assert folded(statements) is None


@pytest.mark.parametrize(
    "other",
    [
        f"{ADD} more text",
        "ALTER TABLE t ALTER c SET NOT NULL",
        "ALTER TABLE t ALTER c TYPE varchar(10)",
        "ALTER TABLE t ADD CHECK (n > 0)",
        INDEX,
    ],
)
def test_what_makes_another_table_is_told_apart(other: str) -> None:
    assert folded([MADE, other]) != folded([MADE])
