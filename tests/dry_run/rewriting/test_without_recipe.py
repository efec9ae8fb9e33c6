"""Statements that no recipe knows, by the reason; and those that are close to them, taken apart."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from django.db import models
from django.db.migrations import (
    AddField,
    AddIndex,
    AlterField,
    RemoveIndex,
    RunSQL,
    SeparateDatabaseAndState,
)
from django.db.migrations.operations.base import Operation

from django_confiture.dry_run.rewriting.facts import Facts, PartitionIndex
from django_confiture.dry_run.rewriting.files import NotRewritten, Rewriting
from django_confiture.dry_run.rewriting.recipes import rewriting_of
from django_confiture.dry_run.sql.parsing.parser import parse

CHANGED = AlterField("order", "note", models.TextField())
ADDED = AddField("order", "x", models.IntegerField())


def reason_of(operation: Operation, sql: str, facts: Facts) -> str:
    new = rewriting_of(operation, parse(sql, placeholders=False), facts)
    assert isinstance(new, NotRewritten)
    return new.reason


@pytest.mark.parametrize(
    ("sql", "reason"),
    [
        ("CREATE INDEX CONCURRENTLY i ON t (a)", "is concurrent already"),
        ("DROP INDEX i CASCADE", "by CASCADE"),
        ("DROP VIEW v", "what is not an index"),
        ("REINDEX (VERBOSE) INDEX i", "its REINDEX has options"),
        ("CLUSTER t", "it runs CLUSTER"),
        ("ALTER TABLE t ADD CONSTRAINT c CHECK (a > 0) NOT VALID", "is not validated at once"),
        ("REFRESH MATERIALIZED VIEW t", "has no unique index on columns"),
        ("REFRESH MATERIALIZED VIEW t WITH NO DATA", "WITH NO DATA"),
        ("ALTER TABLE t SET LOGGED", "a part of the kind"),
        ("ALTER TABLE t ADD a int CHECK (a > 0) CHECK (a < 9)", "several constraints of one kind"),
        ("ALTER TABLE t ADD a int GENERATED ALWAYS AS (b) STORED", "the new column a is generated"),
        ("ALTER TABLE t ADD a int GENERATED ALWAYS AS IDENTITY", "are numbered by where they lie"),
        ("ALTER TABLE t ADD a int PRIMARY KEY", "the new column a is a primary key"),
    ],
)
def test_in_a_script(sql: str, reason: str) -> None:
    measured = Facts("shop", working=frozenset({sql}), written=frozenset({"t"}))
    assert reason in reason_of(RunSQL(sql), sql, measured)


LONGER = "ALTER TABLE t ALTER note TYPE varchar(9)"


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("character varying(9)", "varchar(8)"),
        ("character varying", "varchar(8)"),
        ("text", "varchar(8)"),
        ("numeric(9,2)", "numeric(9,3)"),
        ("numeric(9,2)", "numeric(8,2)"),
        ("numeric", "numeric(8,2)"),
        ("character varying(8)[]", "varchar(9)[]"),
        ("character varying(8)[]", "varchar(8)"),
        ('character varying(8) COLLATE "C"', "varchar(9)"),
        ("character varying(8)", 'varchar(9) COLLATE "C"'),
        ("integer", "bigint"),
        ("", "varchar(9)"),
    ],
)
def test_a_type_that_may_read_rows_stays_with_what_does(before: str, after: str) -> None:
    assert reason_of_new_type(before, after) == "it changes the column's type, and more at once"


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("character varying(8)", "varchar(8)"),
        ("character varying(8)", "varchar(9)"),
        ("character varying(8)", "varchar"),
        ("character varying(8)", "text"),
        ("text", "text"),
        ("numeric(8,2)", "numeric(9,2)"),
        ("numeric(8,2)", "numeric"),
        ("character varying(8)[]", "varchar(8)[]"),
    ],
)
def test_a_wider_type_is_taken_apart(before: str, after: str) -> None:
    assert reason_of_new_type(before, after) == ""


@pytest.mark.parametrize(
    "objects",
    [
        {"constraints": {("t", "c"): "CHECK ((length(note) > 3))"}},
        {"indexes": {"i": "CREATE INDEX i ON public.t USING btree (lower(note))"}},
        {"indexes": {"i": "CREATE INDEX i ON public.t USING btree (a) WHERE (note > 'x')"}},
    ],
)
def test_a_wider_type_of_what_is_computed_with_stays(objects: dict[str, Any]) -> None:
    reason = reason_of_new_type("character varying(8)", "varchar(9)", **objects)
    assert reason == "it changes the column's type, and more at once"


def reason_of_new_type(before: str, after: str, **objects: Any) -> str:
    """Return why a new type and NOT NULL in one statement have no recipe; empty if they have."""
    sql = f"ALTER TABLE t ALTER note TYPE {after}, ALTER note SET NOT NULL"
    types = {("t", "note"): before} if before else {}
    facts = Facts("shop", types=types, working=frozenset({sql}), **objects)
    new = rewriting_of(CHANGED, parse(sql, placeholders=False), facts)
    return new.reason if isinstance(new, NotRewritten) else ""


def test_a_type_that_is_not_known_has_no_way_back() -> None:
    reason = reason_of(CHANGED, LONGER, Facts("shop"))
    assert reason == "the type of note before is not known"


def test_rows_that_another_operation_writes() -> None:
    sql = "UPDATE t SET x = 1"
    assert reason_of(ADDED, sql, Facts("shop", keys={"t": "id"})) == "it writes rows"


def test_a_new_column_that_rewrites_the_table_without_a_default() -> None:
    sql = "ALTER TABLE t ADD x checked_number"
    facts = Facts("shop", rewriting=frozenset({sql}))
    assert reason_of(ADDED, sql, facts) == "the new column x rewrites the table"


def test_a_foreign_key_whose_default_is_a_function() -> None:
    field: models.Field[object, object] = models.ForeignKey("Shop", models.CASCADE, default=int)
    operation = AlterField("order", "shop", field)
    sql = "UPDATE t SET shop_id = 1 WHERE shop_id IS NULL"
    assert "comes from a function" in reason_of(operation, sql, Facts("shop"))


PARTITIONED = Facts("shop", partitioned=frozenset({"t"}), indexes={"i": "CREATE INDEX i ON t (a)"})


@pytest.mark.parametrize(
    ("sql", "reason"),
    [
        ("CREATE INDEX i ON t (a)", "the indexes of the partitions of t are not known"),
        ("DROP INDEX i", "PostgreSQL drops no index of a partitioned table CONCURRENTLY"),
        ("REINDEX INDEX i", "its REINDEX is about a partitioned table"),
        (
            "ALTER TABLE t ADD CONSTRAINT u UNIQUE (a)",
            "the indexes of the partitions of t are not known",
        ),
        (
            "ALTER TABLE t ADD CONSTRAINT f FOREIGN KEY (a) REFERENCES o (id)",
            "the partitions of t have partitions in turn",
        ),
    ],
)
def test_a_partitioned_table(sql: str, reason: str) -> None:
    facts = replace(PARTITIONED, working=frozenset({sql}))
    assert reason in reason_of(RunSQL(sql), sql, facts)


def test_one_statement_of_a_script_that_has_to_stay_whole() -> None:
    update, index = "UPDATE t SET n = n + 1", "CREATE INDEX i ON t (n)"
    facts = Facts("shop", keys={"t": "id"}, working=frozenset({update, index}))
    script = f"{update}; {index}"
    new = rewriting_of(RunSQL(script), parse(script, placeholders=False), facts)
    assert isinstance(new, Rewriting)
    assert [(each.what, each.atomic) for each in new.files] == [("rows", True), ("index", False)]


def test_a_statement_with_parameters() -> None:
    sql = "UPDATE t SET a = %s"
    operation = RunSQL([(sql, [1])])
    new = rewriting_of(operation, parse(sql, placeholders=True), Facts("shop", keys={"t": "id"}))
    assert new == NotRewritten("its statement has parameters")


def test_partitions_of_partitions() -> None:
    nested = {
        "i": [PartitionIndex("public.t_1_a_idx", "CREATE INDEX t_1_a_idx ON t_1 (a)", nested=True)]
    }
    facts = replace(PARTITIONED, partition_indexes=nested)
    operation = AddIndex("order", models.Index(fields=["a"], name="i"))
    assert "are not known" in reason_of(operation, "CREATE INDEX i ON t (a)", facts)


def test_several_operations_of_the_database() -> None:
    two = SeparateDatabaseAndState([RunSQL("CREATE INDEX i ON t (a)"), RunSQL("SELECT 1")])
    reason = reason_of(two, "CREATE INDEX i ON t (a)", Facts("shop"))
    assert reason == "its database_operations are not one operation"


FOREIGN_KEY = (
    "ALTER TABLE t ADD CONSTRAINT ref FOREIGN KEY (a) REFERENCES o (id)"
    " DEFERRABLE INITIALLY DEFERRED"
)
MADE_AGAIN = "ALTER TABLE t DROP CONSTRAINT ref; ALTER TABLE t ALTER COLUMN note SET NOT NULL; "


def test_a_foreign_key_that_is_made_again_stays_where_it_is() -> None:
    known = {("t", "ref"): FOREIGN_KEY.partition("ref ")[2]}
    sql = MADE_AGAIN + FOREIGN_KEY
    facts = Facts("shop", constraints=known)
    new = rewriting_of(CHANGED, parse(sql, placeholders=False), facts)
    assert isinstance(new, Rewriting)
    assert [each.what for each in new.files] == ["check", "validate", "switch"]


@pytest.mark.parametrize("before", [None, "FOREIGN KEY (a) REFERENCES other(id)"])
def test_a_foreign_key_that_becomes_another_under_its_name(before: str | None) -> None:
    known = {} if before is None else {("t", "ref"): before}
    reason = reason_of(CHANGED, MADE_AGAIN + FOREIGN_KEY, Facts("shop", constraints=known))
    assert reason == "it drops ref and makes another one under the same name"


@pytest.mark.parametrize(
    ("back", "files"),
    [
        ("DROP INDEX CONCURRENTLY i", "DROP INDEX CONCURRENTLY i"),
        ("DROP INDEX i", "DROP INDEX CONCURRENTLY i"),
        ("CREATE INDEX j ON t (b)", "CREATE INDEX CONCURRENTLY j ON t USING btree (b)"),
        ("DROP VIEW v", "DROP VIEW v"),
        ("DROP INDEX i; SELECT 1", "DROP INDEX i; SELECT 1"),
    ],
)
def test_the_way_back_of_an_index(back: str, files: str) -> None:
    assert way_back(RunSQL(INDEX, back)) == files


def test_a_way_back_in_a_list_stays_as_it_is() -> None:
    assert way_back(RunSQL(INDEX, ["DROP INDEX i"])) == ["DROP INDEX i"]


INDEX = "CREATE INDEX i ON t (a)"


def way_back(operation: RunSQL) -> object:
    new = rewriting_of(operation, parse(INDEX, placeholders=False), Facts("shop"))
    assert isinstance(new, Rewriting)
    (run,) = new.files[0].operations
    assert isinstance(run, RunSQL)
    return run.reverse_sql


@pytest.mark.parametrize(
    ("operation", "sql", "files"),
    [
        (ADDED, "ALTER TABLE t ADD x integer UNIQUE", ["columns", "index", "switch"]),
        (ADDED, "ALTER TABLE t ADD x integer CHECK (x > 0)", ["columns", "validate"]),
        (CHANGED, "ALTER TABLE s.t ALTER note DROP NOT NULL", ["columns"]),
        (CHANGED, "ALTER TABLE t VALIDATE CONSTRAINT c", ["validate"]),
        (CHANGED, "ALTER TABLE s.t DROP CONSTRAINT c", ["switch"]),
        (RemoveIndex("order", "i"), "DROP INDEX i", ["index"]),
    ],
)
def test_what_is_taken_apart(operation: Operation, sql: str, files: list[str]) -> None:
    facts = Facts("shop", constraints={("s.t", "c"): "CHECK ((a > 0))"})
    new = rewriting_of(operation, parse(sql, placeholders=False), facts)
    assert isinstance(new, Rewriting)
    assert [each.what for each in new.files] == files
