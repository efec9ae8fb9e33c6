"""Which SELECTs run code of users: the catalog tells, as it is at that moment."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from django.db import connections

from django_confiture.dry_run.locks.user_code import SelectClassifier
from django_confiture.dry_run.server.side_channel import Session
from django_confiture.dry_run.sql.parsing.parser import Kind, parse
from tests.support.dry_run import only_statement, plain_connection, runs

pytestmark = pytest.mark.usefixtures("scratch")

FUNCTION = "CREATE FUNCTION dry_f(integer) RETURNS integer LANGUAGE sql AS 'SELECT $1'"


class Classified:
    """Classifies statements, and runs them."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._classifier = SelectClassifier(session)

    def kind(self, sql: str) -> Kind:
        """Return a statement's kind, and run it."""
        (statement,) = parse(sql, placeholders=False)
        kind = self._classifier.classified(statement).kind
        self._session.query(sql)
        return kind


@pytest.fixture
def classified() -> Iterator[Classified]:
    with plain_connection() as connection:
        connection.execute("BEGIN")
        yield Classified(Session(connection))


@pytest.mark.parametrize(
    ("sql", "kind"),
    [
        ("SELECT count(*), max(id) FROM dry_row", Kind.SELECT),
        ("SELECT pg_catalog.lower(name) FROM dry_row", Kind.SELECT),
        ("SELECT 1", Kind.SELECT),
        ("SELECT word FROM ts_stat('SELECT to_tsvector(name) FROM dry_row')", Kind.OPAQUE),
        ("WITH x AS (DELETE FROM dry_row RETURNING id) SELECT count(*) FROM x", Kind.DML),
        ("DO $$ BEGIN END $$", Kind.OPAQUE),
    ],
)
def test_kinds(classified: Classified, sql: str, kind: Kind) -> None:
    assert classified.kind(sql) is kind


def test_a_function_that_is_made_meanwhile(classified: Classified) -> None:
    assert classified.kind("SELECT abs(1)") is Kind.SELECT
    assert classified.kind(FUNCTION) is Kind.DDL
    assert classified.kind("SELECT dry_f(1)") is Kind.OPAQUE
    assert classified.kind(FUNCTION.replace("dry_f", "abs")) is Kind.DDL
    assert classified.kind("SELECT abs(1)") is Kind.OPAQUE


def test_in_a_failed_transaction_the_text_decides() -> None:
    with plain_connection() as connection:
        connection.execute("BEGIN")
        session = Session(connection)
        session.abort()
        (statement,) = parse("SELECT count(*) FROM dry_row", placeholders=False)
        assert SelectClassifier(session).classified(statement).kind is Kind.OPAQUE


def test_a_function_without_a_table_is_measured_all_the_same() -> None:
    with connections["default"].cursor() as cursor:
        cursor.execute("CREATE SEQUENCE dry_numbers")
    try:
        found = only_statement(runs("SELECT nextval('dry_numbers')"))
    finally:
        with connections["default"].cursor() as cursor:
            cursor.execute("DROP SEQUENCE dry_numbers")
    assert [(lock.relation, lock.mode) for lock in found.locks] == [
        ("dry_numbers", "RowExclusiveLock")
    ]
