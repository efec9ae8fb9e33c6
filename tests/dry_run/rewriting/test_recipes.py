"""Recipes are pure: operations and statements go in, files come out."""

from __future__ import annotations

import pytest
from django.db import models
from django.db.migrations import AddField, AlterField, RunPython, SeparateDatabaseAndState

from django_confiture.dry_run.rewriting.files import NotRewritten, Rewriting
from django_confiture.dry_run.rewriting.names import object_name
from django_confiture.dry_run.rewriting.recipes import rewriting_of
from django_confiture.dry_run.rewriting.source import snippet
from django_confiture.dry_run.sql.parser import parse

NOT_NULL = AlterField("order", "note", models.TextField(default="x"))
FILLED = (
    "UPDATE shop_order SET note = 'x' WHERE note IS NULL; SET CONSTRAINTS ALL IMMEDIATE;"
    " ALTER TABLE shop_order ALTER COLUMN note SET NOT NULL"
)


def rewritten(sql: str, *, routed: bool = False) -> Rewriting:
    new = rewriting_of(
        NOT_NULL,
        parse(sql, placeholders=False),
        app_label="shop",
        partitioned=False,
        routed=routed,
    )
    assert isinstance(new, Rewriting)
    return new


def test_nulls_are_filled_before_the_check_and_after_it() -> None:
    files = rewritten(FILLED).files
    assert [each.what for each in files] == ["fill", "columns", "fill_again", "validate", "switch"]
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
        ("ALTER TABLE shop_order ALTER note TYPE varchar(9)", "AlterColumnType"),
        ("DROP INDEX shop_order_note", "it runs DROP"),
        ("ALTER TABLE shop_order RENAME note TO notes", "it renames"),
        ("ALTER TABLE shop_order ADD x uuid DEFAULT gen_random_uuid()", "calls a function"),
        ("ALTER TABLE shop_order ADD x serial", "numbers the rows"),
        ("SET CONSTRAINTS ALL IMMEDIATE", "nothing of it takes long"),
    ],
)
def test_one_statement_without_a_recipe_is_enough_for_none(sql: str, reason: str) -> None:
    new = rewriting_of(
        AddField("order", "x", models.TextField()),
        parse(sql, placeholders=False),
        app_label="shop",
        partitioned=False,
        routed=False,
    )
    assert isinstance(new, NotRewritten)
    assert reason in new.reason


def test_code_of_the_user_has_no_recipe() -> None:
    new = rewriting_of(
        RunPython(RunPython.noop), (), app_label="shop", partitioned=False, routed=False
    )
    assert new == NotRewritten("there is no recipe for RunPython")


def test_names_are_cut_as_postgresql_cuts_them() -> None:
    assert object_name("t", "c", "check") == "t_c_check"
    assert object_name("t" * 60, "c" * 10, "key") == f"{'t' * 48}_{'c' * 10}_key"
