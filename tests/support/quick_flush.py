"""Empties the tables after a test that commits: only those that have rows, without new files."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import pytest
from django.db.backends.postgresql.operations import DatabaseOperations


@pytest.fixture(autouse=True, scope="session")
def quick_flush() -> Iterator[None]:
    """Let Django's flush delete rows: a TRUNCATE makes new files for each table, empty or not.

    It is what most of these tests would spend their time with. A table that a test has dropped is
    left out, as it is empty.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(DatabaseOperations, "sql_flush", _deleting)
        yield


def _deleting(
    operations: Any,
    style: Any,
    tables: Sequence[str],
    *,
    reset_sequences: bool = False,
    allow_cascade: bool = False,
) -> list[str]:
    """Return a DELETE for each table with rows; their foreign keys are checked at the commit."""
    if not tables:
        return []
    names = [operations.quote_name(table) for table in tables]
    asked = " UNION ALL ".join(
        f"SELECT {number} WHERE EXISTS (SELECT FROM {name})" for number, name in enumerate(names)
    )
    with operations.connection.cursor() as cursor:
        cursor.execute(asked)
        return [f"DELETE FROM {names[number]};" for (number,) in cursor.fetchall()]
