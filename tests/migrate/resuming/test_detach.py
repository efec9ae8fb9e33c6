"""``DETACH PARTITION … CONCURRENTLY`` that was cut off between its two transactions."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from django.db import DatabaseError, connection, migrations
from pytest_django import Settings

from django_confiture.migrate.pending_detach import Detach, detach_in
from tests.cases.migrations_on_disk import Cases, query
from tests.migrate.resuming.test_resume import RESUME, execute, started
from tests.support import recording
from tests.support.logs import events
from tests.support.sessions import connect

CUT_OFF = {"MIGRATE": {**RESUME["MIGRATE"], "STATEMENT_TIMEOUT": "300ms"}}
DETACH = 'ALTER TABLE cases_log DETACH PARTITION "cases_Old" CONCURRENTLY'
AFTER = migrations.RunSQL("INSERT INTO recording_log (what) VALUES ('after')")


@pytest.fixture(autouse=True)
def _tables(history: None, cases: Cases, settings: Settings) -> Iterator[None]:
    settings.CONFITURE = RESUME
    with recording.recording():
        execute("CREATE TABLE cases_log (id int) PARTITION BY RANGE (id)")
        execute('CREATE TABLE "cases_Old" PARTITION OF cases_log FOR VALUES FROM (0) TO (9)')
        yield
    connection.close()


@contextmanager
def reader(table: str) -> Iterator[None]:
    """Read the table in a transaction, for which the second half of a DETACH waits."""
    with connect("reader") as other:
        other.execute(f"BEGIN; SELECT FROM {table}")
        yield


def pending() -> list[bool]:
    rows = query("SELECT inhdetachpending FROM pg_inherits WHERE inhparent = 'cases_log'::regclass")
    return [each for (each,) in rows]


def cut_off(cases: Cases, table: str = "cases_log") -> list[str]:
    """Let a timeout end the statement when half of it is committed; return the error's notes."""
    with reader(table), pytest.raises(DatabaseError, match="statement timeout") as caught:
        cases.migrate()
    assert pending() == [True]
    return list(getattr(caught.value, "__notes__", ()))


def test_half_of_it_is_completed(
    cases: Cases, settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    cases.add("0001_detach", migrations.RunSQL(DETACH), AFTER, atomic=False)
    settings.CONFITURE = CUT_OFF
    cut_off(cases)
    cases.migrate()
    assert pending() == []
    assert cases.applied() == {"0001_detach"}
    assert recording.persisted() == ["after"]
    ((_, facts),) = events(caplog, "detach_finalized")
    assert (facts["partition"], facts["table"]) == ('"cases_Old"', "cases_log")


def test_a_second_cut_leaves_the_same_to_do(cases: Cases, settings: Settings) -> None:
    cases.add("0001_detach", migrations.RunSQL(DETACH), AFTER, atomic=False)
    settings.CONFITURE = CUT_OFF
    cut_off(cases)
    cut_off(cases, '"cases_Old"')
    cases.migrate()
    assert pending() == []
    assert recording.persisted() == ["after"]


def test_one_that_was_completed_is_done(cases: Cases, caplog: pytest.LogCaptureFixture) -> None:
    cases.add("0001_detach", migrations.RunSQL(DETACH), AFTER, atomic=False)
    started(cases, 0)
    execute(DETACH)
    cases.migrate()
    assert cases.applied() == {"0001_detach"}
    assert events(caplog, "detach_finalized") == []


def test_one_that_had_done_nothing_runs_again(cases: Cases) -> None:
    cases.add("0001_detach", migrations.RunSQL(DETACH), atomic=False)
    started(cases, 0)
    cases.migrate()
    assert pending() == []


def test_without_resume_the_error_says_what_is_left_and_the_way_on(
    cases: Cases, settings: Settings
) -> None:
    cases.add("0001_detach", migrations.RunSQL(DETACH), atomic=False)
    settings.CONFITURE = {"MIGRATE": {"STATEMENT_TIMEOUT": "300ms"}}
    assert cut_off(cases) == [
        (
            '"cases_Old" was left half detached: no query of cases_log reads it any more. Set '
            'CONFITURE["MIGRATE"]["RESUME"] = True (with django_confiture.history), and the next '
            "migrate completes it; or run ALTER TABLE cases_log DETACH PARTITION "
            '"cases_Old" FINALIZE; by hand, and take the statement out of the migration.'
        )
    ]


@pytest.mark.parametrize(
    ("sql", "found"),
    [
        (DETACH, Detach("cases_log", '"cases_Old"')),
        ("alter table only a.b\n detach partition c . d concurrently;", Detach("a.b", "c . d")),
        ("ALTER TABLE a DETACH PARTITION b", None),
        ("ALTER TABLE a DETACH PARTITION b FINALIZE", None),
        (f"{DETACH}; SELECT 1", None),
    ],
)
def test_the_statement_is_known_by_its_text(sql: str, found: Detach | None) -> None:
    assert detach_in(sql) == found
