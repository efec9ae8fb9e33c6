"""What is asked past the recorder, and undone."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from django.db import connection, transaction

from django_confiture.dry_run.server.side_channel import Session, array

pytestmark = pytest.mark.django_db(transaction=True)

_SENT = re.compile(r"\tF\t\d+\tQuery\b")


@pytest.fixture
def session() -> Iterator[Session]:
    with transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")  # the driver sends BEGIN with it
        yield Session(connection.connection)
    connection.close()


def test_what_is_undone_costs_two_round_trips_more(session: Session, tmp_path: Path) -> None:
    path = tmp_path / "trace"
    with path.open("w") as trace:
        session.raw.pgconn.trace(trace.fileno())
        try:
            with session.undone():
                session.query("CREATE TABLE undone_row ()")
        finally:
            session.raw.pgconn.untrace()
    assert len(_SENT.findall(path.read_text())) == 3
    assert session.value("SELECT pg_catalog.to_regclass('undone_row')") == ""


def test_a_failure_is_undone_too(session: Session) -> None:
    with pytest.raises(psycopg.errors.DivisionByZero), session.undone():
        session.query("SELECT 1 / 0")
    assert session.value("SELECT 1") == "1"


def test_an_array_holds_any_text(session: Session) -> None:
    texts = ["a", 'a "quote"', "a\\backslash", "a,comma", "{braces}", "NULL", ""]

    rows = session.query("SELECT unnest($1::text[])", [array(texts)])

    assert [text for (text,) in rows] == texts
