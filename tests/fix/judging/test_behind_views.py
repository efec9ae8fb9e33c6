"""What can wait until a view has ended; no database."""

from __future__ import annotations

import pytest
from django.db import models
from django.db.migrations import AddField, AlterField, RunSQL
from django.db.migrations.operations.base import Operation

from django_confiture.dry_run.sql.parsing.parser import parse
from django_confiture.fix.judging.behind_views import adds_indexes_and_constraints

TABLE = 'ALTER TABLE "shop_order"'
_WITH_PASSING_DEFAULT = (
    f"{TABLE} ALTER COLUMN note SET DEFAULT ''; UPDATE shop_order SET note = '';"
    f"{TABLE} ALTER COLUMN note SET NOT NULL; {TABLE} ALTER COLUMN note DROP DEFAULT"
)
ALTERED = AlterField("order", "note", models.TextField())


def only_adds(sql: str, operation: Operation = ALTERED) -> bool:
    """Return whether an operation with these statements can wait."""
    return adds_indexes_and_constraints(operation, parse(sql, placeholders=False))


@pytest.mark.parametrize(
    "sql",
    [
        "CREATE UNIQUE INDEX i ON shop_order (note)",
        f"{TABLE} ADD CONSTRAINT c CHECK (note <> '')",
        f"{TABLE} ALTER COLUMN note SET NOT NULL; SET CONSTRAINTS ALL IMMEDIATE",
        _WITH_PASSING_DEFAULT,
    ],
)
def test_code_can_do_without_what_is_added(sql: str) -> None:
    assert only_adds(sql)
    assert not only_adds(sql, RunSQL(sql))


@pytest.mark.parametrize(
    "sql",
    [
        f"{TABLE} ALTER COLUMN note TYPE varchar(40)",
        f"{TABLE} ALTER COLUMN note DROP NOT NULL",
        f"{TABLE} ALTER COLUMN note SET DEFAULT ''",
        f"{TABLE} ALTER COLUMN note SET NOT NULL, ALTER COLUMN note TYPE text",
        f"{TABLE} DROP CONSTRAINT c",
        "CREATE INDEX i ON shop_order (note); DROP INDEX j",
        "COMMENT ON COLUMN shop_order.note IS 'said'",
    ],
)
def test_code_may_need_what_else_is_changed(sql: str) -> None:
    assert not only_adds(sql)


def test_code_needs_a_new_column() -> None:
    added = AddField("order", "note", models.TextField(null=True))
    assert not only_adds(f"{TABLE} ADD COLUMN note text NULL", added)
