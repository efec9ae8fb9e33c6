"""Rows are compared without the columns that are left out, whatever these are called."""

from __future__ import annotations

import pytest
from django.db import connection

from django_confiture.dry_run.server.side_channel import Session
from django_confiture.dry_run.sql.parsing.identifiers import quote_identifier
from django_confiture.fix.rehearsals.rows import RowsToRead, read_rows
from tests.cases.migrations_on_disk import Cases
from tests.support.shipped_hooks import execute


@pytest.mark.parametrize("column", ["plain", "Two words", 'a "quote"', "back\\slash", "null"])
def test_columns_that_are_left_out(cases: Cases, column: str) -> None:
    name = quote_identifier(column)
    execute(
        f"CREATE TABLE cases_odd (id int, {name} int)",
        "INSERT INTO cases_odd VALUES (1, 1), (2, 2)",
    )
    read = RowsToRead(["cases_odd"], without={"cases_odd": [column]})
    session = Session(connection.connection)

    before = read_rows(session, read)
    execute(f"UPDATE cases_odd SET {name} = 3")
    assert read_rows(session, read) == before
    execute("UPDATE cases_odd SET id = 4 WHERE id = 1")
    assert read_rows(session, read) != before
