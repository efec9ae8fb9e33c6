"""Removals: the models forget first, and the next release drops."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from django.db import models
from django.db.migrations import (
    AddField,
    AlterUniqueTogether,
    DeleteModel,
    RemoveField,
    RunSQL,
    SeparateDatabaseAndState,
)
from django.db.migrations.operations.base import Operation

from django_confiture.dry_run.rewriting.facts import Facts
from django_confiture.dry_run.rewriting.files import NotRewritten, Rewriting
from django_confiture.dry_run.rewriting.parts.parts import WHY, Phase
from django_confiture.dry_run.rewriting.recipes import rewriting_of
from django_confiture.dry_run.rewriting.two_releases.removals import postponed
from django_confiture.dry_run.sql.parsing.parser import parse
from tests.support.rewriting import rewritten, there_and_back

FIELD = RemoveField("order", "Total")
MODEL = DeleteModel("Order")
BACK = ('ALTER TABLE shop_order ADD "Total" integer NOT NULL',)


def removed(operation: Operation, sql: str, **facts: Any) -> Rewriting | NotRewritten:
    statements = parse(sql, placeholders=False)
    return rewriting_of(operation, statements, Facts("shop", releases=2, backwards=BACK, **facts))


def both_releases(new: Rewriting | NotRewritten) -> tuple[list[tuple[Any, Any]], Any, Any]:
    """Return what this release runs there and back, what the next one runs, and its way back."""
    assert isinstance(new, Rewriting)
    now, later = new.files
    assert (now.what, now.next_release, later.next_release) == ("models", False, True)
    (both,) = now.operations
    assert isinstance(both, SeparateDatabaseAndState)
    runs = [each for each in both.database_operations if isinstance(each, RunSQL)]
    assert len(runs) == len(both.database_operations)
    freeing = [(each.sql, each.reverse_sql) for each in runs]
    (drop,) = later.operations
    assert isinstance(drop, RunSQL)
    return freeing, drop.sql, drop.reverse_sql


def test_a_required_column_is_freed_before_it_is_dropped() -> None:
    sql = 'ALTER TABLE shop_order DROP COLUMN "Total" CASCADE'
    new = removed(FIELD, sql, required={"shop_order": frozenset({"Total"})})
    column = 'ALTER TABLE "shop_order" ALTER COLUMN "Total"'
    freeing = [(f"{column} DROP NOT NULL", f"{column} SET NOT NULL")]
    assert both_releases(new) == (freeing, sql, *BACK)
    assert both_releases(removed(FIELD, sql)) == ([], sql, *BACK)  # it takes NULL already


def test_a_foreign_key_goes_now_and_comes_back_with_its_column() -> None:
    constraint = 'ALTER TABLE shop_order DROP CONSTRAINT "ref %"'
    column = 'ALTER TABLE shop_order DROP COLUMN "Total"'
    now = 'ALTER TABLE "shop_order" DROP CONSTRAINT IF EXISTS "ref %"'
    new = removed(FIELD, f"SET CONSTRAINTS ALL IMMEDIATE; {constraint}; {column}")
    assert both_releases(new) == ([(now, RunSQL.noop)], column, *BACK)


def test_a_table_is_freed_of_its_own_foreign_keys_alone() -> None:
    constraints = {
        ("shop_order", "ref"): "FOREIGN KEY (a) REFERENCES b(id)",
        ("shop_order", "sane"): "CHECK ((a > 0))",
        ("shop_line", "ref"): "FOREIGN KEY (a) REFERENCES b(id)",
    }
    sql = "DROP TABLE shop_order CASCADE"
    now = 'ALTER TABLE "shop_order" DROP CONSTRAINT IF EXISTS "ref"'
    new = removed(MODEL, sql, constraints=constraints)
    assert both_releases(new) == ([(now, RunSQL.noop)], sql, *BACK)


def test_what_is_dropped_in_several_statements_is_dropped_in_that_order() -> None:
    first, second = "DROP TABLE shop_order_tags CASCADE", "DROP TABLE shop_order CASCADE"
    _freeing, drop, _back = both_releases(removed(MODEL, f"{first}; {second}"))
    assert drop == [first, second]


@pytest.mark.parametrize(
    ("sql", "reason"),
    [
        ("SELECT 1", "it removes nothing from the database"),
        (
            "ALTER TABLE shop_order ALTER a TYPE bigint",
            "it runs ALTER TABLE shop_order ALTER COLUMN a TYPE bigint",
        ),
    ],
)
def test_what_does_not_remove_has_no_recipe(sql: str, reason: str) -> None:
    assert removed(FIELD, sql) == NotRewritten(reason)


def test_in_one_release_a_removal_has_no_recipe() -> None:
    statements = parse("DROP TABLE shop_order CASCADE", placeholders=False)
    new = rewriting_of(MODEL, statements, Facts("shop"))
    assert new == NotRewritten("there is no recipe for DeleteModel")


def test_a_default_stays_until_all_running_code_gives_the_value() -> None:
    add = "ALTER TABLE shop_order ADD x integer DEFAULT 0 NOT NULL"
    drop = "ALTER TABLE shop_order ALTER COLUMN x DROP DEFAULT"
    statements = parse(f"{add}; {drop}", placeholders=False)
    operation = AddField("order", "x", models.IntegerField(default=0))
    one = rewriting_of(operation, statements, Facts("shop"))
    two = rewriting_of(operation, statements, Facts("shop", releases=2))
    assert isinstance(one, Rewriting)
    assert isinstance(two, Rewriting)
    assert [each.next_release for each in one.files] == [False]
    assert [each.next_release for each in two.files] == [False, True]
    last = two.files[-1].operations[0]
    assert isinstance(last, RunSQL)
    assert last.sql == drop


UNIQUE = "ALTER TABLE shop_order ADD CONSTRAINT u UNIQUE (a, b)"
LOOSER, DROPPED = AlterUniqueTogether("order", set()), "ALTER TABLE shop_order DROP CONSTRAINT u"


def test_a_constraint_stays_while_the_running_release_counts_on_it() -> None:
    new = rewriting_of(
        LOOSER,
        parse(DROPPED, placeholders=False),
        Facts("shop", releases=2, backwards=(UNIQUE,)),
    )
    assert isinstance(new, Rewriting)
    now, later = new.files
    (models_alone,) = now.operations
    assert isinstance(models_alone, SeparateDatabaseAndState)
    assert models_alone.state_operations == [LOOSER]
    assert models_alone.database_operations == []
    (drop,) = later.operations
    assert isinstance(drop, RunSQL)
    assert (later.next_release, drop.sql, drop.reverse_sql) == (True, DROPPED, UNIQUE)


def test_a_constraint_that_nothing_brings_back_stays_in_one_release() -> None:
    new = rewriting_of(LOOSER, parse(DROPPED, placeholders=False), Facts("shop", releases=2))
    assert new == NotRewritten("the statements that take it back are not known")


@pytest.mark.parametrize(
    ("sql", "removed_later"),
    [
        ("ALTER TABLE shop_order DROP COLUMN a", True),
        ("DROP TABLE shop_order", True),
        ("DROP VIEW shop_order", False),
        ("ALTER TABLE shop_order ADD b int", False),
        ("DROP TABLE shop_order; SELECT 1", False),
    ],
)
def test_a_script_that_removes_what_models_know(sql: str, removed_later: bool) -> None:
    script = RunSQL(sql, "SELECT 2", state_operations=[FIELD])
    new = rewriting_of(script, parse(sql, placeholders=False), Facts("shop", releases=2))
    if removed_later:
        assert both_releases(new) == ([], sql, "SELECT 2")
    else:
        assert isinstance(new, NotRewritten)


def test_an_operation_on_the_database_without_a_recipe_says_why() -> None:
    apart = SeparateDatabaseAndState([RunSQL("DROP VIEW v")])
    new = rewriting_of(apart, parse("DROP VIEW v", placeholders=False), Facts("shop"))
    assert new == NotRewritten("it drops what is not an index, or by CASCADE")


REFERENCE = 'ALTER TABLE shop_order ADD "Who %" bigint NULL CONSTRAINT f REFERENCES shop_user (id)'
EMPTIES = (
    'ALTER TABLE "shop_order" ADD CONSTRAINT "shop_order_Who %_meanwhile" FOREIGN KEY ("Who %")'
    ' REFERENCES "shop_user" ("id") ON DELETE SET NULL DEFERRABLE INITIALLY DEFERRED NOT VALID'
)
GOES = 'ALTER TABLE "shop_order" DROP CONSTRAINT "shop_order_Who %_meanwhile"'
WHO: models.Field[Any, Any] = models.ForeignKey("User", models.CASCADE, null=True)


def test_running_code_can_delete_what_a_new_foreign_key_refers_to() -> None:
    new = rewritten(
        AddField("order", "who", WHO),
        REFERENCE,
        Facts("shop", releases=2, undeletable=frozenset({"shop_user"})),
    )
    assert (EMPTIES, GOES) in there_and_back(new)
    assert there_and_back(new, next_release=True) == [(GOES, EMPTIES)]


@pytest.mark.parametrize(
    ("sql", "releases", "undeletable"),
    [
        (REFERENCE, 1, "shop_user"),
        (REFERENCE, 2, "shop_other"),
        (REFERENCE.replace("NULL", "NOT NULL"), 2, "shop_user"),
        (REFERENCE.replace("NULL", "DEFAULT 1"), 2, "shop_user"),
    ],
)
def test_only_where_it_must_and_the_column_can_be_emptied(
    sql: str, releases: int, undeletable: str
) -> None:
    facts = Facts("shop", releases=releases, undeletable=frozenset({undeletable}))
    new = rewritten(AddField("order", "who", WHO), sql, facts)
    assert "meanwhile" not in str(there_and_back(new))


def test_what_waits_anyway_is_not_put_off() -> None:
    new = removed(FIELD, 'ALTER TABLE shop_order DROP COLUMN "Total"')
    assert isinstance(new, Rewriting)
    assert postponed(new) is new
    later = postponed(replace(new, files=new.files[:1]))
    assert [each.next_release for each in later.files] == [True]
    assert later.files[0].why.startswith(f"{WHY[Phase.NEXT_RELEASE]}. ")
