"""Recipes are pure: operations and statements go in, files come out."""

from __future__ import annotations

import pytest
from django.db import models
from django.db.migrations import (
    AddField,
    AlterField,
    AlterUniqueTogether,
    RunPython,
    RunSQL,
    SeparateDatabaseAndState,
)
from django.db.migrations.operations.base import Operation

from django_confiture.dry_run.rewriting.facts import Facts
from django_confiture.dry_run.rewriting.files import (
    Batches,
    NotRewritten,
    NumbersInPlace,
    Rewriting,
)
from django_confiture.dry_run.rewriting.names import object_name
from django_confiture.dry_run.rewriting.recipes import rewriting_of
from django_confiture.dry_run.rewriting.source import snippet
from django_confiture.dry_run.sql.parsing.parser import parse

NOT_NULL = AlterField("order", "note", models.TextField(default="x"))
FILLED = (
    "UPDATE shop_order SET note = 'x' WHERE note IS NULL; SET CONSTRAINTS ALL IMMEDIATE;"
    " ALTER TABLE shop_order ALTER COLUMN note SET NOT NULL"
)


def rewritten(sql: str, *, routed: bool = False) -> Rewriting:
    new = rewriting_of(NOT_NULL, parse(sql, placeholders=False), Facts("shop", routed=routed))
    assert isinstance(new, Rewriting)
    return new


def test_nulls_are_filled_before_the_check_and_after_it() -> None:
    files = rewritten(FILLED).files
    assert [each.what for each in files] == ["fill", "check", "fill_again", "validate", "switch"]
    assert [each.atomic for each in files] == [False, True, False, True, True]
    (last,) = files[-1].operations
    assert isinstance(last, SeparateDatabaseAndState)
    assert last.state_operations == [NOT_NULL]


def test_routers_are_told_the_model() -> None:
    code = snippet(rewritten(FILLED, routed=True).files)
    assert code.count("'model_name': 'order'") == 6  # two fills, four statements
    assert "hints" not in snippet(rewritten(FILLED).files)


@pytest.mark.parametrize(
    ("sql", "reason"),
    [
        ("ALTER TABLE shop_order ALTER note TYPE varchar(9)", "the type of note before"),
        ("DROP INDEX shop_order_note", "the index shop_order_note is not known"),
        ("ALTER TABLE shop_order DROP CONSTRAINT x", "the constraint x is not known"),
        ("ALTER TABLE shop_order DROP x", "it drops the column x"),
        ("ALTER TABLE shop_order RENAME note TO notes", "it renames"),
        ("SET CONSTRAINTS ALL IMMEDIATE", "nothing of it takes long"),
    ],
)
def test_one_statement_without_a_recipe_is_enough_for_none(sql: str, reason: str) -> None:
    new = rewriting_of(
        AddField("order", "x", models.TextField()),
        parse(sql, placeholders=False),
        Facts("shop"),
    )
    assert isinstance(new, NotRewritten)
    assert reason in new.reason


def test_code_of_the_user_has_no_recipe() -> None:
    new = rewriting_of(RunPython(RunPython.noop), (), Facts("shop"))
    assert new == NotRewritten("its code updates no rows")


def test_names_are_cut_as_postgresql_cuts_them() -> None:
    assert object_name("t", "c", "check") == "t_c_check"
    assert object_name("t" * 60, "c" * 10, "key") == f"{'t' * 48}_{'c' * 10}_key"


VOLATILE = "ALTER TABLE shop_order ADD x uuid DEFAULT gen_random_uuid() NOT NULL"
INDEX = "CREATE INDEX shop_order_note ON public.shop_order USING btree (note)"


def by(operation: Operation, sql: str, facts: Facts) -> Rewriting | NotRewritten:
    return rewriting_of(operation, parse(sql, placeholders=False), facts)


def test_a_default_that_rewrites_is_filled_in_batches() -> None:
    add = AddField("order", "x", models.UUIDField())
    rewrites = frozenset({VOLATILE})
    facts = Facts("shop", keys={"shop_order": "Key %"}, rewriting=rewrites)
    new = by(add, VOLATILE, facts)
    assert isinstance(new, Rewriting)
    assert [each.what for each in new.files] == ["columns", "fill", "check", "validate", "switch"]
    code = snippet(new.files)
    assert 'ORDER BY "Key %" LIMIT 5000' in code
    assert """"Key %%" > %(last)s""" in code
    assert """shop_order."Key %%" BETWEEN %(low)s AND %(high)s""" in code.replace(
        "'\n            '", ""
    )
    unknown = by(add, VOLATILE, Facts("shop", rewriting=rewrites))
    assert unknown == NotRewritten("shop_order has no primary key of one column to go by")
    assert isinstance(by(add, VOLATILE, Facts("shop")), Rewriting)  # it rewrites nothing


def test_an_index_is_dropped_last_and_comes_back_as_it_was() -> None:
    facts = Facts("shop", indexes={"shop_order_note": INDEX})
    sql = "DROP INDEX shop_order_note; CREATE INDEX other ON shop_order (note)"
    new = by(NOT_NULL, sql, facts)
    assert isinstance(new, Rewriting)
    assert [each.what for each in new.files] == ["index", "drop_index"]
    back = new.files[1].operations[0].database_operations[0].reverse_sql  # type: ignore[attr-defined]
    assert back == ("CREATE INDEX CONCURRENTLY shop_order_note ON shop_order USING btree (note)")


def test_what_is_dropped_and_made_again_stays() -> None:
    facts = Facts("shop", indexes={"shop_order_note": INDEX})
    again = "DROP INDEX shop_order_note; CREATE INDEX shop_order_note ON shop_order ({})"
    assert by(NOT_NULL, again.format("note"), facts) == NotRewritten("nothing of it takes long")
    other = by(NOT_NULL, again.format("total"), facts)
    assert isinstance(other, NotRewritten)
    assert "another one under the same name" in other.reason


@pytest.mark.parametrize(
    ("sql", "reason"),
    [
        ("UPDATE t SET n = n + 1", "must not run twice"),
        ("UPDATE t SET a = b, b = 1", "must not run twice"),
        ("UPDATE t SET a = (SELECT max(b) FROM t)", "depends on other rows"),
        ("DELETE FROM t USING t u WHERE t.a = u.a", "depends on other rows"),
        ("DELETE FROM t RETURNING id", "WITH or RETURNING"),
        ("WITH x AS (SELECT 1) DELETE FROM t", "WITH or RETURNING"),
        ("UPDATE other SET a = 1", "no primary key"),
        ("SET LOCAL lock_timeout = '1s'; CREATE INDEX i ON t (a)", "the whole script"),
        ("BEGIN; CREATE INDEX i ON t (a)", "the whole script"),
        ("SELECT 1", "nothing of it takes long"),
    ],
)
def test_scripts_that_have_to_stay_whole(sql: str, reason: str) -> None:
    new = by(RunSQL(sql), sql, Facts("shop", keys={"t": "id"}))
    assert isinstance(new, NotRewritten)
    assert reason in new.reason


def test_the_way_back_of_a_script_is_its_own() -> None:
    sql = "CREATE INDEX a ON t (x); CREATE INDEX b ON t (y)"
    new = by(RunSQL(sql, "DROP INDEX b; DROP INDEX a"), sql, Facts("shop"))
    assert isinstance(new, Rewriting)
    backs = [each.operations[0].reverse_sql for each in new.files]  # type: ignore[attr-defined]
    assert backs == [["DROP INDEX CONCURRENTLY b", "DROP INDEX CONCURRENTLY a"], ""]
    irreversible = by(RunSQL(sql), sql, Facts("shop"))
    assert isinstance(irreversible, Rewriting)
    assert not any(each.operations[0].reversible for each in irreversible.files)


def test_an_update_names_its_table_as_the_statement_does() -> None:
    sql = "UPDATE \"Old\" o SET a = 'BETWEEN $1' WHERE b LIKE 'x%' OR c"
    new = by(RunSQL(sql), sql, Facts("shop", keys={"Old": "id"}))
    assert isinstance(new, Rewriting)
    fill = new.files[0].fill
    assert isinstance(fill, Batches)
    assert fill.statement == (
        """UPDATE "Old" o SET a = 'BETWEEN $1'"""
        " WHERE o.id BETWEEN %(low)s AND %(high)s AND (b LIKE 'x%%' OR c)"
    )
    assert not fill.reversible


def test_an_index_that_is_renamed_later_goes_by_either_name_backwards() -> None:
    new = by(
        AlterUniqueTogether("order", set()),
        "CREATE INDEX i ON t (a)",
        Facts("shop", renamed_indexes={"i": "j"}),
    )
    assert isinstance(new, Rewriting)
    (run,) = new.files[0].operations[0].database_operations  # type: ignore[attr-defined]
    assert run.reverse_sql == (
        'DROP INDEX CONCURRENTLY IF EXISTS "j"',
        'DROP INDEX CONCURRENTLY IF EXISTS "i"',
    )


def test_an_index_of_another_schema_comes_back_there() -> None:
    facts = Facts("shop", indexes={"s.i": "CREATE INDEX i ON s.t USING btree (a)"})
    new = by(AlterUniqueTogether("order", set()), "DROP INDEX s.i", facts)
    assert isinstance(new, Rewriting)
    (run,) = new.files[0].operations[0].database_operations  # type: ignore[attr-defined]
    assert run.reverse_sql == "CREATE INDEX CONCURRENTLY i ON s.t USING btree (a)"


def test_an_update_that_is_not_the_fill_of_nulls_is_done_in_batches() -> None:
    sql = "UPDATE t SET note = 'x' WHERE total > 2; ALTER TABLE t ALTER note SET NOT NULL"
    new = by(AlterField("order", "note", models.TextField()), sql, Facts("shop", keys={"t": "id"}))
    assert isinstance(new, Rewriting)
    assert [each.what for each in new.files] == ["fill", "check", "validate", "switch"]
    assert isinstance(new.files[0].fill, Batches)
    assert new.files[0].fill.statement == (
        "UPDATE t SET note = 'x' WHERE t.id BETWEEN %(low)s AND %(high)s AND total > 2"
    )


def test_rows_get_their_numbers_in_the_order_in_which_they_lie() -> None:
    sql = 'ALTER TABLE "50%" ADD "%s" bigserial'
    new = by(RunSQL(sql, RunSQL.noop), sql, Facts("shop", working=frozenset({sql})))
    assert isinstance(new, Rewriting)
    assert new.numbers_rows
    (fill, *_rest) = [each.fill for each in new.files if each.fill is not None]
    assert fill == NumbersInPlace(
        """UPDATE "50%%" SET "%%s" = nextval('"50%%_%%s_seq"') WHERE "%%s" IS NULL"""
        " AND ctid >= %(low)s::tid AND ctid < %(high)s::tid",
        '"50%"',
    )
    assert "pg_relation_size(" in snippet(new.files)


@pytest.mark.parametrize(
    ("constraint", "index"),
    [
        ("UNIQUE (a) WITH (fillfactor = 70)", " WITH (fillfactor=70)"),
        ("PRIMARY KEY (a) USING INDEX TABLESPACE fast", " TABLESPACE fast"),
    ],
)
def test_an_index_is_stored_as_its_constraint_says(constraint: str, index: str) -> None:
    sql = f"ALTER TABLE t ADD CONSTRAINT c {constraint}"
    facts = Facts("shop", working=frozenset({sql}), not_null={"t": frozenset({"a"})})
    new = rewriting_of(RunSQL(sql), parse(sql, placeholders=False), facts)
    assert isinstance(new, Rewriting), new.reason
    (made,) = new.files[0].operations
    assert isinstance(made, RunSQL)
    assert str(made.sql).startswith("CREATE UNIQUE INDEX CONCURRENTLY c ON t ")
    assert str(made.sql).endswith(index)
