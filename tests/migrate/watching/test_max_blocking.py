"""``MAX_BLOCKING``: no session waits for a migration for longer, whatever it is doing."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from datetime import timedelta
from io import StringIO
from typing import Any

import psycopg
import pytest
from django.db import connection, connections, migrations
from django.dispatch import Signal
from pytest_django import Settings

from django_confiture import signals
from django_confiture.exceptions import MigrationGaveWay
from django_confiture.migrate.sessions.second_connection import connect_beside
from django_confiture.migrate.watching.watch import Observation, Target, Watch
from tests.cases.migrations_on_disk import Cases, query
from tests.support import recording
from tests.support.logs import events
from tests.support.pools import behind_pgbouncer
from tests.support.sessions import client, connect, holding

LIMIT_S = 0.3
SLACK_S = 0.6
"""More than the 0.3 s of the benchmark: this runs next to other tests."""
LIMITED = {"MAX_BLOCKING": "300ms", "LOCK_RETRIES": 3, "RETRY_DELAY": "10ms"}
ALTER = migrations.RunSQL("ALTER TABLE recording_parent ADD note text")
READS = "SELECT count(*) FROM recording_parent"

attempts: list[int] = []


@pytest.fixture(autouse=True)
def _tables(cases: Cases) -> Iterator[None]:
    attempts.clear()
    with recording.recording():
        yield
    connection.close()


def in_python(editor: Any) -> None:
    time.sleep(3)


def in_a_statement(editor: Any) -> None:
    editor.execute("SELECT pg_sleep(3)")


def in_short_statements(editor: Any) -> None:
    until = time.monotonic() + 3
    while time.monotonic() < until:
        editor.execute("SELECT 1")


def swallowing(editor: Any) -> None:
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_sleep(3)")
    except Exception:  # noqa: BLE001 - what a careless migration does
        pass


def busy_at_first(work: Any) -> migrations.RunPython:
    """Be busy in the first attempt alone."""

    def run(apps: Any, schema_editor: Any) -> None:
        attempts.append(len(attempts) + 1)
        if len(attempts) == 1:
            work(schema_editor)

    return migrations.RunPython(run)


@pytest.mark.parametrize("work", [in_python, in_a_statement, in_short_statements, swallowing])
def test_it_gives_way_and_tries_again(
    cases: Cases, settings: Settings, caplog: pytest.LogCaptureFixture, work: Any
) -> None:
    received: list[dict[str, Any]] = []

    def receive(signal: Signal, **facts: Any) -> None:
        received.append(facts)

    cases.add("0001_blocks", recording.operation(), ALTER, busy_at_first(work))
    settings.CONFITURE = {"MIGRATE": LIMITED}
    signals.migration_gave_way.connect(receive)
    try:
        with client(READS) as shop:
            cases.migrate()
    finally:
        signals.migration_gave_way.disconnect(receive)
    assert attempts[:2] == [1, 2]  # on a busy machine the second one may give way as well
    assert recording.persisted() == ["operation"]
    assert cases.applied() == {"0001_blocks"}
    assert LIMIT_S <= shop.longest_s <= LIMIT_S + SLACK_S
    (_, facts), *_ = events(caplog, "migration_gave_way")
    assert set(facts) == {"migration", "app_label", "waited_ms", "attempt"}
    assert facts["attempt"] == 1
    assert 300 <= facts["waited_ms"] < 900
    assert received[0]["attempt"] == 1
    assert [each.application_name for each in received[0]["waiters"]] == ["shop"]


def test_the_last_attempt_says_why_and_what_it_would_have_needed(
    cases: Cases, settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    cases.add("0001_blocks", recording.operation(), ALTER, migrations.RunSQL("SELECT pg_sleep(3)"))
    given = {**LIMITED, "LOCK_RETRIES": 1}
    settings.CONFITURE = {"MIGRATE": given, "PHASES": recording.in_every_phase()}
    with client(READS), pytest.raises(MigrationGaveWay) as caught:
        cases.migrate()
    said = str(caught.value)
    assert said.startswith("cases.0001_blocks gave way: shop (pid ")
    assert ' for recording_parent; CONFITURE["MIGRATE"]["MAX_BLOCKING"] is 300 ms. Tried 2 ' in said
    assert " ms into SELECT, and had worked for " in said
    assert said.endswith(
        "it needs more than that. All of it was rolled back. Migrate when fewer sessions need the "
        "table, raise MAX_BLOCKING, or split the migration: migrate_dryrun measures what it blocks "
        "and says how."
    )
    assert [facts["attempt"] for _, facts in events(caplog, "migration_gave_way")] == [1, 2]
    assert recording.persisted() == ["ON_ERROR", "CLEANUP"]
    assert cases.applied() == set()


def test_those_who_queue_behind_its_own_wait_count_as_well(
    cases: Cases, settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    cases.add("0001_waits", ALTER)
    settings.CONFITURE = {"MIGRATE": {**LIMITED, "LOCK_RETRIES": 9}}
    lock = "LOCK recording_parent IN ACCESS SHARE MODE"
    with (
        holding(lock, until=lambda: events(caplog, "migration_gave_way")),
        client(READS) as shop,
    ):
        cases.migrate()
    assert shop.longest_s <= LIMIT_S + SLACK_S
    assert events(caplog, "migration_gave_way")


def test_it_never_starts_again_after_a_commit(cases: Cases, settings: Settings) -> None:
    for work in (in_python, in_a_statement):
        attempts.clear()
        name = f"000{len(cases.names) + 1}_commits"
        column = migrations.RunSQL(f"ALTER TABLE recording_parent ADD {work.__name__} text")
        cases.add(
            name,
            recording.operation(),
            migrations.RunSQL("COMMIT"),
            migrations.RunSQL("BEGIN"),
            column,
            busy_at_first(work),
        )
        settings.CONFITURE = {"MIGRATE": LIMITED}
        with client(READS), pytest.raises(MigrationGaveWay, match="ended its transaction by its"):
            cases.migrate()
        assert attempts == [1]
        cases.migrate(name, fake=True)


def test_a_non_atomic_migration_fails_and_says_that_parts_are_committed(
    cases: Cases, settings: Settings
) -> None:
    slow = "BEGIN; ALTER TABLE recording_parent ADD note text; SELECT pg_sleep(3); COMMIT"
    cases.add("0001_parts", recording.operation(), migrations.RunSQL(slow), atomic=False)
    settings.CONFITURE = {"MIGRATE": LIMITED}
    with client(READS) as shop, pytest.raises(MigrationGaveWay) as caught:
        cases.migrate()
    assert "It is not atomic, so parts of it are committed and it was not tried again" in str(
        caught.value
    )
    connection.close()  # the migration has left its own transaction open, as it would anyway
    assert recording.persisted() == ["operation"]
    assert shop.longest_s <= LIMIT_S + SLACK_S


def test_sessions_of_this_process_do_not_count(
    cases: Cases, settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    def in_a_thread() -> None:
        with connections["default"].cursor() as cursor:
            cursor.execute("SET lock_timeout = '700ms'")
            with pytest.raises(Exception, match="lock timeout"):
                cursor.execute(READS)
        connections["default"].close()

    def run(apps: Any, schema_editor: Any) -> None:
        thread = threading.Thread(target=in_a_thread)
        thread.start()
        thread.join()

    cases.add("0001_threads", ALTER, migrations.RunPython(run))
    settings.CONFITURE = {"MIGRATE": LIMITED}
    cases.migrate()
    assert events(caplog, "migration_gave_way") == []


def test_a_long_check_of_constraints_is_not_left_to_the_commit(
    cases: Cases, settings: Settings
) -> None:
    """COMMIT can't be canceled any more, so what it would do is done before."""
    with connection.cursor() as cursor:
        cursor.execute(
            "CREATE FUNCTION recording_slow() RETURNS trigger LANGUAGE plpgsql AS"
            " $$ BEGIN PERFORM pg_sleep(3); RETURN NULL; END $$;"
            " CREATE CONSTRAINT TRIGGER slow AFTER INSERT ON recording_parent DEFERRABLE"
            " INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION recording_slow()"
        )
    cases.add(
        "0001_blocks",
        migrations.RunSQL("LOCK recording_child; INSERT INTO recording_parent VALUES (1)"),
    )
    settings.CONFITURE = {"MIGRATE": {**LIMITED, "LOCK_RETRIES": 0}}
    with client("SELECT count(*) FROM recording_child") as shop, pytest.raises(MigrationGaveWay):
        cases.migrate()
    assert shop.longest_s <= LIMIT_S + SLACK_S
    with connection.cursor() as cursor:
        cursor.execute("DROP FUNCTION recording_slow CASCADE")


@pytest.mark.parametrize("mode", ["session", "transaction"])
def test_through_pgbouncer(
    cases: Cases, settings: Settings, caplog: pytest.LogCaptureFixture, mode: str
) -> None:
    cases.add("0001_blocks", ALTER, busy_at_first(in_a_statement))
    settings.CONFITURE = {"MIGRATE": LIMITED}
    with client(READS) as shop, behind_pgbouncer(mode):
        cases.migrate()
    assert attempts == [1, 2]
    assert shop.longest_s <= LIMIT_S + SLACK_S
    assert len(events(caplog, "migration_gave_way")) == 1
    assert query("SELECT count(*) FROM recording_parent") == [(0,)]


class BrokenTerminal(StringIO):
    """A terminal that was closed: Django's own lines go nowhere, ours raise."""

    def isatty(self) -> bool:
        return True

    def write(self, text: str) -> int:
        if "\r" in text:
            raise OSError("Input/output error")
        return len(text)


def test_it_gives_way_though_the_terminal_is_gone(cases: Cases, settings: Settings) -> None:
    settings.CONFITURE = {"MIGRATE": {"MAX_BLOCKING": "2s"}}
    cases.add("0001_blocks", ALTER, migrations.RunSQL("SELECT pg_sleep(5)"))
    with client(READS) as shop, pytest.raises(MigrationGaveWay):
        cases.migrate(stdout=BrokenTerminal(), verbosity=1)
    assert 2 <= shop.longest_s <= 2 + SLACK_S


def test_a_listener_that_fails_does_not_stop_the_watch(caplog: pytest.LogCaptureFixture) -> None:
    class Fails:
        def observed(self, observation: Observation) -> None:
            raise KeyError(observation.target.pid)

    limit = timedelta(milliseconds=300)
    with connect("migrates") as migrates, client(READS) as shop:
        watch = Watch(
            lambda: connect_beside(connection, "watches"),
            [Fails()],
            own_pids=lambda: (),
            max_blocking=limit,
        )
        try:
            migrates.execute("LOCK recording_parent")
            watch.follow(Target(migrates.info.backend_pid, 1, None, {}))
            with pytest.raises(psycopg.errors.QueryCanceled):
                migrates.execute("SELECT pg_sleep(5)")
        finally:
            watch.stop()
    assert shop.longest_s <= LIMIT_S + SLACK_S
    (error,) = [each for each in caplog.records if each.levelname == "ERROR"]
    assert error.getMessage() == "Fails failed, and gets no more news of the migration"


@pytest.mark.parametrize("which", ["connect", "connect_guard"])
def test_a_backend_that_gets_no_password_does_not_stop_the_watch(
    which: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Backends ask other services for a password, and raise what those raise."""
    monkeypatch.setattr("django_confiture.migrate.watching.watch._RECONNECT_S", 0.1)
    refused: list[str] = []

    def connects() -> psycopg.Connection[Any]:
        if not refused:
            refused.append("once")
            raise RuntimeError("the vault is sealed")
        return connect_beside(connection, "watches")

    opens = {"connect": lambda: connect_beside(connection, "watches"), which: connects}
    with client(READS), connect("migrates") as migrates:
        watch = Watch(
            opens["connect"],
            [],
            own_pids=lambda: (),
            connect_guard=opens.get("connect_guard"),
            max_blocking=timedelta(milliseconds=300),
        )
        try:
            migrates.execute("LOCK recording_parent")
            watch.follow(Target(migrates.info.backend_pid, 1, None, {}))
            with pytest.raises(psycopg.errors.QueryCanceled):
                migrates.execute("SELECT pg_sleep(3)")
        finally:
            watch.stop()
    (warning,) = [each for each in caplog.records if each.levelname == "WARNING"]
    assert "(the vault is sealed)" in warning.getMessage()
