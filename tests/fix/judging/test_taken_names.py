"""Fields in the place of others that the same migration removes; no database."""

from __future__ import annotations

import pytest
from django.db import models
from django.db.migrations import AddField, RemoveField

from django_confiture.dry_run.rewriting.files import Rewriting, RewrittenFile
from django_confiture.dry_run.sql.parsing.parser import parse
from django_confiture.fix.judging.judgment import Judgment
from django_confiture.fix.judging.taken_names import (
    columns_left,
    columns_taken,
    passed_by,
    without_taken_names,
)

COLUMN = "ALTER TABLE shop_order ADD COLUMN fans_id bigint NULL"
NO_COLUMN = "ALTER TABLE shop_order DROP COLUMN fans_id CASCADE"
TABLE = "CREATE TABLE shop_order_fans (id integer)"
NO_TABLE = "DROP TABLE shop_order_fans CASCADE"
LATER = RewrittenFile("next", "why", (), next_release=True)


def removed(sql: str, *, waits: bool) -> Judgment:
    statements = parse(sql, placeholders=False)
    return Judgment(
        RemoveField("order", "fans"),
        "fixed",
        rewriting=Rewriting((LATER,)) if waits else None,
        columns_left=columns_left(statements),
    )


def added(sql: str) -> Judgment:
    operation = AddField("order", "fans", models.IntegerField())
    return Judgment(operation, "fixed", columns_taken=columns_taken(parse(sql, placeholders=False)))


@pytest.mark.parametrize(
    ("left", "taken", "same"),
    [
        (NO_COLUMN, COLUMN, True),
        (NO_TABLE, TABLE, True),
        (NO_TABLE, COLUMN, False),
        (NO_COLUMN, TABLE, False),
    ],
)
def test_a_column_and_a_table_have_only_the_fields_name_in_common(
    left: str, taken: str, *, same: bool
) -> None:
    both = [removed(left, waits=False), added(taken)]
    _first, (found, _locked) = without_taken_names((each, ()) for each in both)
    assert found.outcome == ("refused" if same else "fixed")
    kind = "column" if taken == COLUMN else "table"
    assert (f"would use the new {kind} as the old one" in (found.reason or "")) is same
    assert list(passed_by([(removed(left, waits=True),), (added(taken),)], ())) == [0] * same


def test_names_of_what_is_renamed() -> None:
    statements = parse(
        "ALTER TABLE a RENAME COLUMN b TO c; ALTER TABLE a RENAME TO d; ALTER INDEX e RENAME TO f;"
        "ALTER TABLE a DROP CONSTRAINT g; DROP INDEX h; ALTER TABLE a ADD CHECK (b > 0)",
        placeholders=False,
    )
    assert columns_taken(statements) == {"a.c", "d"}
    assert columns_left(statements) == set()
