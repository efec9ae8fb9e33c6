"""Writes that are sent together count as those that are sent one by one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta

import pytest
from django.apps.registry import Apps
from django.db import connection, connections

from django_confiture.dry_run.running_code.catalog.known_rows import KnownRows
from django_confiture.dry_run.running_code.catalog.numbers import Numbers
from django_confiture.dry_run.running_code.sending.connection import ProbeConnection

pytestmark = pytest.mark.django_db


@pytest.fixture
def probes() -> Iterator[ProbeConnection]:
    with connection.cursor() as cursor:
        cursor.execute("CREATE TABLE cases_thing (id integer PRIMARY KEY CHECK (id < 9))")
        cursor.execute("INSERT INTO cases_thing VALUES (1)")
    found = ProbeConnection(connection, KnownRows(Numbers()), timeout=timedelta(milliseconds=500))
    with found.probing(Apps()):
        yield found


def sending(*texts: str, found: list[object] | None = None) -> Callable[[], None]:
    """Return what sends statements as the ORM does; a SELECT adds what it reads to ``found``."""

    def send() -> None:
        for text in texts:
            with connections["default"].cursor() as cursor:
                cursor.execute(text)
                if found is not None and text.startswith("SELECT"):
                    found.extend(cursor.fetchall())

    return send


def test_what_reads_sees_what_was_written_before(probes: ProbeConnection) -> None:
    found: list[object] = []
    reading = sending(
        "UPDATE cases_thing SET id = id + 1",
        "UPDATE cases_thing SET id = id * 2",
        "SELECT id FROM cases_thing",
        "DELETE FROM cases_thing",
        "SELECT id FROM cases_thing",
        found=found,
    )
    script = probes.together(reading, each_finds=True)
    assert found == [(4,)]
    assert script is not None
    assert probes.passes(script)


def test_one_that_fails_fails_all_and_leaves_nothing(probes: ProbeConnection) -> None:
    writing = sending("UPDATE cases_thing SET id = 2", "UPDATE cases_thing SET id = 10")
    assert probes.together(writing, each_finds=True) is None
    found: list[object] = []
    assert probes.attempt(sending("SELECT id FROM cases_thing", found=found)) is None
    assert found == [(1,)]


def test_what_failed_before_it_was_sent_is_not_sent_later(probes: ProbeConnection) -> None:
    writing = sending("UPDATE cases_thing SET id = 2", "SELECT * FROM cases_gone")
    assert probes.together(writing, each_finds=True) is None
    found: list[object] = []
    assert probes.together(sending("SELECT id FROM cases_thing", found=found), each_finds=True)
    assert found == [(1,)]


def test_a_row_that_is_not_there(probes: ProbeConnection) -> None:
    writing = sending("UPDATE cases_thing SET id = 2 WHERE id = 5")
    assert probes.together(writing, each_finds=True) is None
    assert probes.together(writing, each_finds=False)


def test_what_is_canceled_twice_is_not_sent_again(probes: ProbeConnection) -> None:
    slow = "UPDATE cases_thing SET id = 2 WHERE pg_sleep(9) IS NOT NULL"
    for _time in range(2):
        assert probes.together(sending(slow, slow), each_finds=True) is None
    quick = probes.attempt(sending("UPDATE cases_thing SET id = 3"))
    assert quick is not None
    assert quick.sqlstate == "57014"
