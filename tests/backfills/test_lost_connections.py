"""The server ends the session after each statement of a backfill, or has limits of a role."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
import pytest
from django.db import OperationalError, connection
from django.db.models import BooleanField, F, Func, Q
from pytest_django import Settings

from tests.support.backfills import PATH, books, counters, execute, shelf, wait_for
from tests.support.dry_run import plain_connection
from tests.support.logs import events

__all__ = ["shelf"]  # a fixture

pytestmark = pytest.mark.usefixtures("shelf")
ROWS = 300


def run(name: str) -> str:
    """Run a backfill on this connection; return its state."""
    from django_confiture.backfills.in_process import run_here

    return run_here(PATH + name, using="default", actor="the test", workers=1).value


def leftovers() -> list[Any]:
    """Return triggers and functions of a mirror."""
    return execute(
        "SELECT tgname FROM pg_trigger WHERE NOT tgisinternal"
        " UNION ALL SELECT proname FROM pg_proc WHERE proname LIKE 'confiture%%'"
    )


class EndsSession:
    """Ends the session once it has executed so many statements; what follows finds it gone."""

    def __init__(self, after: int, other: psycopg.Connection[Any]) -> None:
        self.executed = 0
        self._after = after
        self._other = other

    def __call__(self, execute: Callable[..., Any], *args: Any) -> Any:
        found = execute(*args)
        self.executed += 1
        if self.executed == self._after:
            pid = connection.connection.info.backend_pid
            self._other.execute("SELECT pg_terminate_backend(%s)", [pid])
            wait_for(lambda: not self._is_there(pid))
        return found

    def _is_there(self, pid: int) -> bool:
        query = "SELECT FROM pg_stat_activity WHERE pid = %s"
        return bool(self._other.execute(query, [pid]).fetchall())


@contextmanager
def session_ends(after: int = 0) -> Iterator[EndsSession]:
    with plain_connection() as other:
        other.autocommit = True
        wrapper = EndsSession(after, other)
        with connection.execute_wrapper(wrapper):
            yield wrapper


def begin_again() -> None:
    from django_confiture.backfills.models import BackfillRun

    BackfillRun.objects.all().delete()
    execute("UPDATE shelf_book SET sort_title = NULL, times_filled = 0")


@pytest.mark.parametrize(
    ("name", "every"), [("Mirrored", 1), ("CountBooks", 3), ("ProcessSortTitle", 4)]
)
def test_after_whichever_statement_the_session_ends_each_row_is_done_once(
    name: str, every: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    from django_confiture.backfills.models import BackfillEvent

    monkeypatch.setattr("django_confiture.backfills.error_kinds.FIRST_DELAY", 0.005)
    books(ROWS)
    with session_ends() as whole:
        assert run(name) == "completed"
    assert whole.executed > 20
    for number in range(1, whole.executed + 1, every):
        begin_again()
        with session_ends(after=number) as ending:
            assert run(name) == "completed", number
        assert ending.executed >= number
        connection.close()  # which may have been lost with the last statement
        if name == "Mirrored":
            done = "SELECT count(*) FROM shelf_book WHERE sort_title = lower(title)"
            assert execute(done) == [(ROWS,)], number
        else:
            assert counters() == {1: ROWS}, number
        assert leftovers() == [], number
        events_of_run = BackfillEvent.objects.values_list("action", flat=True)
        assert sorted(events_of_run) == ["completed", "start"], number


def test_more_lost_connections_than_attempts_over_a_long_run_end_nothing(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The attempts are those of one step, not of a whole backfill."""
    from django_confiture.backfills.ranges import planning
    from django_confiture.backfills.ranges.leases import claim

    monkeypatch.setattr("django_confiture.backfills.error_kinds.FIRST_DELAY", 0.005)
    monkeypatch.setattr(planning, "ROWS_A_RANGE", 20)
    settings.CONFITURE = {"BACKFILLS": {"ATTEMPTS": 2, "WORKERS": 1}}
    books(ROWS)
    claimed: list[Any] = []

    def lost(*args: Any, **kwargs: Any) -> Any:
        claimed.append(args)
        if len(claimed) % 2:
            connection.close()
            connection.ensure_connection()
            execute("SELECT set_config('idle_session_timeout', '1ms', false)")
            wait_for(lambda: not connection.is_usable())
        return claim(*args, **kwargs)

    monkeypatch.setattr("django_confiture.backfills.runner.claim", lost)
    assert run("CountBooks") == "completed"
    assert len(claimed) > 8
    assert counters() == {1: ROWS}


@contextmanager
def limits(**given: str) -> Iterator[None]:
    """Give the role limits of its own, as an administrator does."""
    options = " ".join(f"-c {name}={value}" for name, value in given.items())
    before = connection.settings_dict
    connection.close()
    connection.settings_dict = {**before, "OPTIONS": {**before["OPTIONS"], "options": options}}
    try:
        yield
    finally:
        connection.close()
        connection.settings_dict = before


@pytest.fixture
def slow_to_ask(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let it take 2 ms to ask whether a row is done, so that all rows take long."""
    from tests.backfills.shelf import backfills

    execute(
        "CREATE FUNCTION shelf_undone(title text) RETURNS boolean LANGUAGE plpgsql COST 1 AS"
        " $$ BEGIN PERFORM pg_sleep(0.002); RETURN title IS NULL; END $$"
    )
    undone = Func(F("sort_title"), function="shelf_undone", output_field=BooleanField())
    monkeypatch.setattr(backfills.FillSortTitle, "where", Q(undone))
    yield
    execute("DROP FUNCTION shelf_undone")


@pytest.mark.parametrize("limit", ["statement_timeout", "transaction_timeout"])
def test_a_limit_of_the_role_does_not_end_what_reads_the_whole_table(
    slow_to_ask: None, limit: str, settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    if limit == "transaction_timeout" and connection.pg_version < 170000:  # type: ignore[attr-defined]
        pytest.skip("there since PostgreSQL 17")
    settings.CONFITURE = {"BACKFILLS": {"MIN": 10, "MAX": 10}}
    books(ROWS)
    with limits(**{limit: "400ms"}):
        assert run("FillSortTitle") == "completed"
        assert execute(f"SHOW {limit}") == [("400ms",)]
    assert counters() == {1: ROWS}
    assert events(caplog, "backfill_retry") == []


def test_a_row_that_is_too_large_for_an_index_is_at_fault_alone() -> None:
    from django_confiture.backfills.models import BackfillRowError

    books(100)
    execute(
        "CREATE FUNCTION shelf_indexed(title text) RETURNS text LANGUAGE sql IMMUTABLE AS"
        " $$ SELECT CASE WHEN title = 'title 7title 7' THEN string_agg(md5(i::text), '')"
        " ELSE title END FROM generate_series(1, 500) i $$"
    )
    execute("UPDATE shelf_book SET title = lower(title)")
    execute("CREATE INDEX shelf_large ON shelf_book (shelf_indexed(sort_title))")
    try:
        assert run("Broken") == "failed"
    finally:
        execute("DROP FUNCTION shelf_indexed CASCADE")
    assert [error.key for error in BackfillRowError.objects.all()] == [[7]]
    assert counters() == {0: 1, 1: 99}


def test_a_trigger_of_a_worker_that_was_killed_at_the_end_goes_with_the_next() -> None:
    from django_confiture.backfills import control
    from django_confiture.backfills.declared.declaration import load_backfill
    from django_confiture.backfills.in_migrations import require
    from django_confiture.backfills.models import BackfillRun
    from django_confiture.backfills.safeguards import mirror

    name = PATH + "Mirrored"
    books(10)
    prepared = control.prepare(name, using="default", actor="the test")
    mirror.install(prepared, load_backfill(name), using="default")
    execute("UPDATE shelf_book SET sort_title = 'done'")
    BackfillRun.objects.update(state="completed")
    assert len(leftovers()) == 2
    from django.apps import apps

    require(name, connection, apps, finish=False)
    assert leftovers() == []


def test_a_database_that_is_gone_for_good_ends_run_with_one_line(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    from django.core.management import CommandError, call_command

    caplog.set_level(logging.CRITICAL, "django_confiture")
    monkeypatch.setattr("django_confiture.backfills.error_kinds.FIRST_DELAY", 0.005)
    settings.CONFITURE = {"BACKFILLS": {"ATTEMPTS": 3, "WORKERS": 1}}
    books(10)
    before = connection.settings_dict

    def gone(*args: Any, **kwargs: Any) -> Any:
        connection.close()
        connection.settings_dict = {**before, "PORT": "1"}
        connection.ensure_connection()

    monkeypatch.setattr("django_confiture.backfills.runner.claim", gone)
    try:
        with pytest.raises(CommandError) as ended:
            call_command("confiture_backfills", "run", PATH + "CountBooks")
    finally:
        connection.close()
        connection.settings_dict = before
    assert ended.value.returncode == 1
    said = str(ended.value)
    assert said.startswith("The database 'default' did not answer: ")
    assert said.endswith(f"the same command goes on: run {PATH}CountBooks")
    assert "\n" not in said
    assert isinstance(ended.value.__cause__, OperationalError)
