"""Who blocks a real ``migrate`` and whom it blocks, told while it lasts."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from io import StringIO
from typing import Any

import pytest
from django.core.management import call_command
from django.db import connection, migrations
from django.dispatch import Signal
from pytest_django import Settings

from django_confiture import signals
from tests.cases.migrations_on_disk import Cases, query
from tests.support import recording
from tests.support.logs import events
from tests.support.pools import pooled
from tests.support.server import OwnServer, own_server
from tests.support.sessions import client, holding

__all__ = ["own_server"]

ALTER = migrations.RunSQL("ALTER TABLE recording_parent ADD note text")
LOCK = "LOCK TABLE recording_parent IN ACCESS SHARE MODE"
WATCHED = {"MIGRATE": {"LOCK_TIMEOUT": "20s"}}


@pytest.fixture(autouse=True)
def _tables(cases: Cases) -> Iterator[None]:
    with recording.recording():
        yield
    connection.close()


@pytest.fixture
def received() -> Iterator[list[dict[str, Any]]]:
    """Listen to what the watch sends."""
    found: list[dict[str, Any]] = []

    def receive(signal: Signal, **facts: Any) -> None:
        found.append({"signal": signal, **facts})

    sent = (signals.migration_waits, signals.migration_blocks)
    for each in sent:
        each.connect(receive)
    yield found
    for each in sent:
        each.disconnect(receive)


def sleep(seconds: float) -> migrations.RunPython:
    return migrations.RunPython(lambda apps, editor: time.sleep(seconds))


def wait(until: Callable[[], object]) -> migrations.RunPython:
    """Work until something is true, for ten seconds at most."""

    def run(apps: Any, editor: Any) -> None:
        deadline = time.monotonic() + 10
        while not until() and time.monotonic() < deadline:
            time.sleep(0.05)

    return migrations.RunPython(run)


def watches() -> list[tuple[Any, ...]]:
    query("SELECT pg_stat_clear_snapshot()")
    return query(
        "SELECT pid FROM pg_stat_activity"
        " WHERE application_name = 'django-confiture watch' AND datname = current_database()"
    )


def gone() -> bool:
    """Return whether the watch's session ends; the server takes a moment to notice."""
    until = time.monotonic() + 2
    while watches() and time.monotonic() < until:
        time.sleep(0.02)
    return not watches()


def test_it_says_whom_it_waits_for(
    cases: Cases,
    settings: Settings,
    caplog: pytest.LogCaptureFixture,
    received: list[dict[str, Any]],
) -> None:
    cases.add("0001_waits", ALTER)
    settings.CONFITURE = WATCHED
    with holding(LOCK, name="nightly report", until=lambda: received) as pid:
        cases.migrate()
    ((_, facts),) = events(caplog, "migration_waits")
    assert set(facts) == {
        *("migration", "app_label", "relation", "mode", "waited_ms", "blocked_by"),
    }
    assert (facts["migration"], facts["app_label"]) == ("0001_waits", "cases")
    assert (facts["relation"], facts["mode"]) == ("recording_parent", "AccessExclusiveLock")
    assert 200 <= facts["waited_ms"] < 5000
    (blocker,) = facts["blocked_by"]
    assert set(blocker) == {
        *("pid", "application_name", "user", "state", "query_ms", "transaction_ms"),
    }
    assert (blocker["pid"], blocker["application_name"]) == (pid, "nightly report")
    assert blocker["state"] == "idle in transaction"
    assert blocker["user"] == query("SELECT current_user")[0][0]
    assert 200 <= blocker["transaction_ms"] < 10_000
    assert blocker["query_ms"] <= blocker["transaction_ms"]
    (record,) = [each for each in caplog.records if each.getMessage() == "migration_waits"]
    assert (record.name, record.levelname) == ("django_confiture.migrate", "WARNING")
    (signal,) = received
    assert signal["signal"] is signals.migration_waits
    assert signal["migration"].name == "0001_waits"
    assert (signal["using"], signal["direction"]) == ("default", "forward")
    assert signal["blocked_by"] == facts["blocked_by"]


def test_a_wait_for_a_row_names_its_table(
    cases: Cases, settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    with connection.cursor() as cursor:
        cursor.execute("INSERT INTO recording_parent VALUES (1)")
    cases.add("0001_waits", migrations.RunSQL("UPDATE recording_parent SET id = 2"))
    settings.CONFITURE = WATCHED
    row = "UPDATE recording_parent SET id = 1"
    with holding(row, name="editor", until=lambda: events(caplog, "migration_waits")):
        cases.migrate()
    ((_, facts),) = events(caplog, "migration_waits")
    assert facts["relation"] == "recording_parent"
    assert [each["application_name"] for each in facts["blocked_by"]] == ["editor"]


def test_it_says_whom_it_blocks(
    cases: Cases,
    settings: Settings,
    caplog: pytest.LogCaptureFixture,
    received: list[dict[str, Any]],
) -> None:
    cases.add("0001_blocks", ALTER, wait(until=lambda: received))
    settings.CONFITURE = WATCHED
    with client("SELECT count(*) FROM recording_parent", name="shop"):
        cases.migrate()
    ((_, facts),) = events(caplog, "migration_blocks")
    assert set(facts) == {"migration", "app_label", "waiting", "longest_ms", "relations"}
    assert facts["waiting"] == 1
    assert 200 <= facts["longest_ms"] < 5000
    assert facts["relations"] == ["recording_parent"]
    (signal,) = received
    assert signal["signal"] is signals.migration_blocks
    assert [each.application_name for each in signal["waiters"]] == ["shop"]


def test_a_long_wait_is_not_said_all_the_time(
    cases: Cases, settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    cases.add("0001_waits", ALTER)
    settings.CONFITURE = WATCHED
    with holding(LOCK, waited_for_s=1.5):
        cases.migrate()
    assert len(events(caplog, "migration_waits")) == 1


def test_without_a_setting_or_a_listener_there_is_no_second_connection(
    cases: Cases, settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    found: list[Any] = []
    cases.add(
        "0001_looks", sleep(0.5), migrations.RunPython(lambda apps, editor: found.extend(watches()))
    )
    settings.CONFITURE = {}
    cases.migrate()
    assert found == []
    assert events(caplog, "migration_waits", "migration_blocks") == []


@pytest.mark.parametrize("quick", [True, False])
def test_a_listener_costs_a_quick_migration_nothing(
    cases: Cases, settings: Settings, received: list[dict[str, Any]], quick: bool
) -> None:
    found: list[Any] = []
    looks = migrations.RunPython(lambda apps, editor: found.extend(watches()))
    cases.add("0001_looks", *([] if quick else [wait(until=watches)]), looks)
    settings.CONFITURE = {}
    cases.migrate()
    assert len(found) == (0 if quick else 1)


def test_a_handler_for_our_own_logs_listens(cases: Cases, settings: Settings) -> None:
    found: list[Any] = []
    looks = migrations.RunPython(lambda apps, editor: found.extend(watches()))
    cases.add("0001_looks", wait(until=watches), looks)
    settings.CONFITURE = {}
    logger, handler = logging.getLogger("django_confiture.migrate"), logging.NullHandler()
    logger.addHandler(handler)
    try:
        cases.migrate()
    finally:
        logger.removeHandler(handler)
    assert len(found) == 1


@pytest.mark.parametrize("fails", [False, True])
def test_no_connection_outlives_the_plan(cases: Cases, settings: Settings, fails: bool) -> None:
    cases.add("0001_fine", sleep(0.2), *([migrations.RunSQL("SELECT 1 / 0")] if fails else []))
    settings.CONFITURE = WATCHED
    if fails:
        with pytest.raises(Exception, match="division by zero"):
            cases.migrate()
    else:
        cases.migrate()
    assert gone()


def test_without_a_second_connection_it_warns_once_and_goes_on(
    cases: Cases,
    settings: Settings,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("django_confiture.migrate.sessions.second_connection.PATIENCE", 0.2)
    monkeypatch.setattr("django_confiture.migrate.watching.watch._RECONNECT_S", 0.1)
    cases.add("0001_fine", sleep(1.5), ALTER)
    settings.CONFITURE = {"MIGRATE": {"LOCK_RETRIES": 1, "ONE_AT_A_TIME": False}}
    with pooled("session", answers=1):
        cases.migrate()
    assert cases.applied() == {"0001_fine"}
    (warning,) = [each for each in caplog.records if "unwatched" in each.getMessage()]
    assert warning.getMessage() == (
        "The migration goes on unwatched, without MAX_BLOCKING and news of who waits: no second "
        "connection (no answer within 0.2 s)"
    )


def test_a_receiver_that_is_slow_or_fails_does_not_stop_the_watch(
    cases: Cases, settings: Settings, received: list[dict[str, Any]]
) -> None:
    def slow(**facts: Any) -> None:
        time.sleep(0.3)
        raise ValueError("no")

    cases.add("0001_waits", ALTER)
    settings.CONFITURE = WATCHED
    signals.migration_waits.connect(slow)
    try:
        with holding(LOCK, until=lambda: received):
            cases.migrate()
    finally:
        signals.migration_waits.disconnect(slow)
    assert cases.applied() == {"0001_waits"}
    assert len(received) == 1


def test_a_prepared_transaction_has_a_name_though_it_has_no_session(
    cases: Cases, settings: Settings, caplog: pytest.LogCaptureFixture, own_server: OwnServer
) -> None:
    settings.CONFITURE = {"MIGRATE": {"LOCK_TIMEOUT": "3s"}}
    cases.add("0001_waits", migrations.RunSQL("ALTER TABLE accounts ADD note text"))
    with own_server.started(max_prepared_transactions=2), own_server.connect() as other:
        other.execute("CREATE TABLE accounts (id integer)")
        other.execute("BEGIN")
        other.execute("LOCK accounts IN ACCESS SHARE MODE")
        other.execute("PREPARE TRANSACTION 'transfer 7'")
        try:
            with pytest.raises(Exception, match="lock timeout"):
                cases.migrate()
        finally:
            other.execute("ROLLBACK PREPARED 'transfer 7'")
            other.execute("DROP TABLE accounts")
    ((_, facts),) = events(caplog, "migration_waits")
    (blocker,) = facts["blocked_by"]
    assert (blocker["pid"], blocker["application_name"]) == (0, "prepared transaction transfer 7")
    assert (blocker["state"], blocker["query_ms"]) == ("prepared", None)


def test_a_dry_run_has_a_watchdog_of_its_own(
    history: None, cases: Cases, settings: Settings
) -> None:
    """It takes no turn, deletes nothing of the journal, and shows no line."""
    found: list[Any] = []
    looks = migrations.RunPython(
        lambda apps, editor: found.extend(
            query(
                "SELECT application_name FROM pg_stat_activity"
                " WHERE datname = current_database() AND application_name ~ '^django-confiture'"
            )
        )
    )
    cases.add("0001_looks", sleep(0.6), looks)
    settings.CONFITURE = {}
    logger, handler = logging.getLogger("django_confiture"), logging.NullHandler()
    logger.addHandler(handler)
    out = StringIO()
    try:
        call_command("migrate_dryrun", "cases", format="json", verbosity=0, stdout=out)
    finally:
        logger.removeHandler(handler)
    assert sorted(name for (name,) in found) == [
        "django-confiture dry run",
        "django-confiture watchdog",
    ]
    assert "journalentry" not in out.getvalue()
