"""Tables are looked up together with those that their foreign keys lead to."""

from __future__ import annotations

import re
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pytest
from django.db import connection

from django_confiture.dry_run.running_code.catalog.table import Table
from django_confiture.dry_run.running_code.catalog.tables import TableCatalog
from django_confiture.dry_run.server.side_channel import Session

pytestmark = pytest.mark.django_db

_SENT = re.compile(r"\tF\t\d+\t(?:Query|Sync)\b")
_NAMES = [f"cases_level{each}" for each in range(6)]


@pytest.fixture
def catalog() -> TableCatalog:
    """Make a table that leads to itself and to another one, which leads to a third, and so on."""
    with connection.cursor() as cursor:
        cursor.execute(f"CREATE TABLE {_NAMES[-1]} (id integer PRIMARY KEY)")
        for name, target in list(pairwise(_NAMES))[::-1]:
            cursor.execute(
                f"CREATE TABLE {name} (id integer PRIMARY KEY, own integer REFERENCES {name},"
                f" next integer REFERENCES {target})"
            )
    found = TableCatalog(Session(connection.connection), connection.ops.quote_name)
    found.fetch([0])  # so that the server has its plan
    found.forget()
    return found


def counted(path: Path, look_up: Callable[[], object]) -> int:
    """Return how often it waits for the server."""
    pgconn = connection.connection.pgconn
    with path.open("w") as trace:
        pgconn.trace(trace.fileno())
        look_up()
        pgconn.untrace()
    return len(_SENT.findall(path.read_text()))


def test_four_levels_are_looked_up_at_once(catalog: TableCatalog, tmp_path: Path) -> None:
    names = _NAMES[:1]
    assert counted(tmp_path / "load", lambda: catalog.load(names)) == 2  # which it is, and it

    catalog.resolve(_NAMES)
    found: list[Table] = []
    near = _NAMES[:4]
    assert counted(tmp_path / "near", lambda: found.extend(catalog.tables(near))) == 0
    assert [each.name for each in found] == near
    assert counted(tmp_path / "far", lambda: list(catalog.tables(_NAMES))) == 2


def test_one_level_is_the_table_alone(catalog: TableCatalog, tmp_path: Path) -> None:
    catalog.load_alone(_NAMES[:1])
    catalog.resolve(_NAMES)
    assert counted(tmp_path / "other", lambda: list(catalog.tables(_NAMES[1:2]))) == 1
    (first, second) = catalog.tables(_NAMES[:2])
    assert {key.target for key in first.outgoing} == {first.oid, second.oid}
    assert {key.table for key in second.incoming} == {first.oid, second.oid}


def test_what_has_not_changed_is_not_looked_up_again_but_for_its_rows(
    catalog: TableCatalog, tmp_path: Path
) -> None:
    catalog.load(_NAMES[:2])
    first, second = catalog.tables(_NAMES[:2])
    assert first.is_empty
    assert second.is_empty
    with connection.cursor() as cursor:
        cursor.execute(f"ALTER TABLE {_NAMES[1]} ADD note text")
        cursor.execute(f"INSERT INTO {_NAMES[0]} VALUES (1)")
    catalog.forget({first.oid})
    catalog.resolve(_NAMES)
    assert counted(tmp_path / "rows", lambda: list(catalog.tables(_NAMES[:1]))) == 1
    assert counted(tmp_path / "known", lambda: list(catalog.tables(_NAMES[:1]))) == 0
    now_first, now_second = catalog.tables(_NAMES[:2])
    assert not now_first.is_empty
    assert now_first.columns is first.columns
    assert "note" in now_second.columns


def test_a_question_is_prepared_again_where_the_server_has_forgotten_it(
    catalog: TableCatalog,
) -> None:
    with connection.cursor() as cursor:
        cursor.execute("DEALLOCATE ALL")
    (found,) = catalog.tables(_NAMES[:1])
    assert found.name == _NAMES[0]
