"""What standard error says while a dry run works."""

from __future__ import annotations

import re
import threading
import time
from io import StringIO
from typing import Any

import psycopg
import pytest
from django.core.management import call_command
from django.db import connection
from django.db.migrations import RunPython, RunSQL
from pytest_django import Settings

from django_confiture import Hook, HookContext, HookPhase, HookResult, RunHook, signals
from tests.cases.migrations_on_disk import Cases
from tests.dry_run.isolation.test_watchdog import wait_until_locked
from tests.support.dry_run import plain_connection


class Slow(Hook):
    """Says how far it is, and takes its time."""

    phase = HookPhase.AFTER_DDL

    def execute(self, conn: Any, context: HookContext) -> HookResult:
        context.progress(1000, 4000)
        time.sleep(0.6)
        return HookResult(phase=self.phase.name, hook_name="Slow")


class Terminal(StringIO):
    def isatty(self) -> bool:
        return True


def slow(_apps: object, _editor: object) -> None:
    time.sleep(0.6)


@pytest.fixture
def two(cases: Cases) -> Cases:
    """Give two migrations, of which the second takes its time."""
    cases.add("0001_first", RunPython(RunPython.noop))
    cases.add("0002_slow", RunPython(slow), RunHook(Slow))
    return cases


def said(stream: StringIO, **options: Any) -> str:
    call_command("migrate_dryrun", "cases", stdout=StringIO(), stderr=stream, **options)
    return stream.getvalue()


def test_a_terminal_has_a_line_that_changes(two: Cases) -> None:
    shown = said(Terminal())

    assert "  Rehearsing cases.0001_first... passed" in shown
    assert "  Rehearsing cases.0002_slow... passed" in shown
    assert re.search(r"2/2  \d+ ms  1\. Raw Python operation", shown)
    assert re.search(r"2/2  .+?  Slow: 1,000 of 4,000", shown)
    assert "\x1b[31" not in shown  # the red of errors


def test_a_log_has_a_line_for_each_migration(two: Cases) -> None:
    lines = said(StringIO()).splitlines()

    assert lines[-2:] == [
        "  Rehearsing cases.0001_first... passed",
        "  Rehearsing cases.0002_slow... passed",
    ]


def test_a_log_is_never_silent_for_long(two: Cases, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("django_confiture.management.progress.QUIET_S", 0.25)

    shown = said(StringIO())

    assert re.search(r"0002_slow\.\.\.\n    \d+ ms  1\. Raw Python operation", shown)
    assert re.search(r"\n    .+?  Slow: 1,000 of 4,000", shown)


def test_nothing_is_said_unasked(two: Cases) -> None:
    for stream in (Terminal(), StringIO()):
        assert said(stream, verbosity=0) == ""


def update(other: psycopg.Connection[Any]) -> None:
    """Wait for the dry run's lock, then for what it locks."""
    wait_until_locked(other, "cases_row")
    other.execute("UPDATE cases_row SET id = 1")


def test_who_is_being_blocked_is_shown_while_it_is(cases: Cases, settings: Settings) -> None:
    settings.CONFITURE = {"DRY_RUN": {"YIELD_AFTER": "30s"}}
    cases.add("0001_table", RunSQL("CREATE TABLE cases_row AS SELECT 1 AS id"))
    cases.migrate()
    lock = RunSQL("LOCK TABLE cases_row IN ACCESS EXCLUSIVE MODE")
    cases.add("0002_slow", lock, RunPython(slow))
    stream = Terminal()
    with plain_connection() as other:
        other.execute("SET application_name = 'web'")
        thread = threading.Thread(target=update, args=[other])
        thread.start()
        shown = said(stream)
        thread.join()

    assert "0002_slow... passed" in shown
    assert re.search(r"1/1  \d+ ms  \[web waits for it\]  2\. Raw Python operation", shown)


def test_who_made_it_give_way_is_said_at_once(cases: Cases) -> None:
    cases.add("0001_table", RunSQL("CREATE TABLE cases_row AS SELECT 1 AS id"))
    cases.migrate()
    lock = RunSQL("LOCK TABLE cases_row IN ACCESS EXCLUSIVE MODE")
    cases.add("0002_slow", lock, RunPython(slow))
    stream = StringIO()
    with plain_connection() as other:
        thread = threading.Thread(target=update, args=[other])
        thread.start()
        with pytest.raises(SystemExit):
            said(stream)
        thread.join()

    assert re.search(
        r"0002_slow\.\.\.\n  Giving way to session \d+ \(.+?\), whose UPDATE on cases_row had "
        r"waited \d+ ms\.\n not run\n",
        stream.getvalue(),
    )


def test_hooks_tell_their_progress_to_receivers(two: Cases) -> None:
    told: list[tuple[str, Any]] = []

    def started(*, hook: str, **_: object) -> None:
        told.append((hook, "started"))

    def progressed(*, hook: str, done: int, total: int | None, **_: object) -> None:
        told.append((hook, (done, total)))

    signals.hook_started.connect(started)
    signals.hook_progress.connect(progressed)
    try:
        two.migrate()
    finally:
        signals.hook_started.disconnect(started)
        signals.hook_progress.disconnect(progressed)

    assert told == [("Slow", "started"), ("Slow", (1000, 4000))]


def test_a_hook_says_how_long_it_has_to_go(cases: Cases) -> None:
    cases.add("0001_slow", RunHook(Batches))

    shown = said(Terminal())

    assert re.search(r"1/1  .+?  75 %, about \d+ ms to go  Batches: 3,000 of 4,000", shown)


class Batches(Hook):
    """Says how far it is, after more than a second."""

    phase = HookPhase.AFTER_DDL

    def execute(self, conn: Any, context: HookContext) -> HookResult:
        time.sleep(1.1)
        context.progress(3000, 4000)
        time.sleep(0.6)
        return HookResult(phase=self.phase.name, hook_name="Batches")


def test_an_index_says_how_far_it_is(cases: Cases) -> None:
    cases.add(
        "0001_table", RunSQL(["CREATE TABLE cases_row AS SELECT generate_series(1, 999) id", SLOW])
    )
    cases.migrate()
    cases.add("0002_index", RunSQL("CREATE INDEX ON cases_row (cases_slow(id))"))

    try:
        shown = said(Terminal())
    finally:
        with connection.cursor() as cursor:
            cursor.execute("DROP FUNCTION cases_slow(int) CASCADE")

    assert re.search(r"1/1  .+?  scanning table \d+ %(, about .+? to go)?  1\. Raw SQL", shown)


SLOW = """
CREATE FUNCTION cases_slow(id int) RETURNS int IMMUTABLE LANGUAGE plpgsql AS
$$ BEGIN PERFORM pg_sleep(0.002); RETURN id; END $$
"""


def test_samples_say_how_long_a_statement_will_take(cases: Cases) -> None:
    wide = "SELECT id, repeat(md5(id::text), 8) AS text FROM generate_series(1, 400000) id"
    cases.add("0001_table", RunSQL([f"CREATE TABLE cases_row AS {wide}", "ANALYZE cases_row"]))
    cases.migrate()
    cases.add("0002_index", RunSQL("CREATE INDEX ON cases_row (text, id)"))

    shown = said(Terminal(), samples=True)

    assert re.search(r"1/1  .+?  statement \d+ ms of about [\d.]+ m?s  ", shown)


def test_a_watchdog_that_fails_ends_the_dry_run(two: Cases, monkeypatch: Any) -> None:
    def failing(_self: object, _waiters: object) -> None:
        raise ZeroDivisionError("by design")

    monkeypatch.setattr("django_confiture.management.progress.Progress.waited_for", failing)
    stream = StringIO()
    with pytest.raises(SystemExit) as ended:
        call_command("migrate_dryrun", "cases", stdout=stream, stderr=StringIO())

    assert ended.value.code == 2
    words = " ".join(stream.getvalue().split())
    assert "migrations: stopped partway" in words
    assert "The watchdog failed, so the dry run stopped rather than go on without it" in words
    assert "by design" in words
