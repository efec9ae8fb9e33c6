"""Statements that are tried together fail one by one, and leave nothing."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

import pytest
from django.apps.registry import Apps
from django.db import connection

from django_confiture.dry_run.running_code.catalog.known_rows import KnownRows
from django_confiture.dry_run.running_code.catalog.numbers import Numbers
from django_confiture.dry_run.running_code.sending.connection import ProbeConnection
from django_confiture.dry_run.running_code.sending.statements import FirstStatement
from django_confiture.dry_run.running_code.sending.undone_batches import failures

pytestmark = pytest.mark.django_db

_TABLES = """
CREATE TABLE cases_parent (id integer PRIMARY KEY, note text NOT NULL CHECK (note <> 'no'));
CREATE TABLE cases_child (parent_id integer CONSTRAINT of_parent REFERENCES cases_parent
  DEFERRABLE INITIALLY DEFERRED);
"""


@pytest.fixture
def probes() -> Iterator[ProbeConnection]:
    with connection.cursor() as cursor:
        cursor.execute(_TABLES)
    found = ProbeConnection(connection, KnownRows(Numbers()), timeout=timedelta(milliseconds=500))
    with found.probing(Apps()):
        yield found


def tried(probes: ProbeConnection, *texts: str) -> list[tuple[str | None, ...] | None]:
    asked = [FirstStatement(f"{number}", text) for number, text in enumerate(texts)]
    return [
        None
        if each is None
        else (each.sql, each.sqlstate, each.error, each.constraint, each.column)
        for each in failures(probes, asked)
    ]


def test_each_has_its_own_error(probes: ProbeConnection) -> None:
    assert tried(
        probes,
        "INSERT INTO cases_parent VALUES (1, 'it''s 100 % \\ $confiture$')",
        "INSERT INTO cases_parent VALUES (1, NULL)",
        "SELECT * FROM cases_gone",
        "INSERT INTO cases_child VALUES (1)",
        "INSERT INTO cases_parent VALUES (1, 'a') RETURNING id",
    ) == [
        None,
        (
            "1",
            "23502",
            'null value in column "note" of relation "cases_parent" violates not-null constraint',
            None,
            "note",
        ),
        ("2", "42P01", 'relation "cases_gone" does not exist', None, None),
        (
            "3",
            "23503",
            'insert or update on table "cases_child" violates foreign key constraint "of_parent"',
            "of_parent",
            None,
        ),
        None,
    ]
    assert probes.session.value("SELECT count(*) FROM cases_parent") == "0"


def test_there_may_be_more_than_one_batch(probes: ProbeConnection) -> None:
    texts = ["INSERT INTO cases_parent VALUES (1, 'a')", "SELECT gone FROM cases_parent"] * 120
    states = [each and each[1] for each in tried(probes, *texts)]
    assert states == [None, "42703"] * 120


def test_what_takes_too_long_together_has_not_passed(probes: ProbeConnection) -> None:
    found = tried(probes, "SELECT 1", "SELECT pg_sleep(60)")
    assert found == [(number, None, "not tried", None, None) for number in ("0", "1")]
    assert tried(probes, "SELECT 1") == [None]
