"""Several ``migrate``s of one database: each migration is applied once, even if some are killed."""

from __future__ import annotations

import os
import re
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from io import StringIO
from typing import Any

import psycopg
import pytest
from django.apps import apps as installed
from django.core.management import call_command
from django.core.management.sql import emit_post_migrate_signal
from django.db import connection, migrations, models
from pytest_django import Settings

from django_confiture import exceptions
from django_confiture.migrate import plan_session
from django_confiture.migrate.turns import one_at_a_time
from tests.cases.migrations_on_disk import Cases, query
from tests.support import migrate_process, recording
from tests.support.dry_run import parameters
from tests.support.logs import events
from tests.support.pools import behind_pgbouncer, pooled
from tests.support.sessions import calling, client, found_for

HOLDERS = """
SELECT a.application_name FROM pg_locks l JOIN pg_stat_activity a USING (pid)
WHERE locktype = 'advisory' AND granted AND objsubid = 2 AND a.datname = current_database()
"""


@pytest.fixture(autouse=True)
def _tables(cases: Cases) -> Iterator[None]:
    with recording.recording():
        yield
    connection.close()


@contextmanager
def another_migrate(*, then: str = "") -> Iterator[int]:
    """Hold the lock as another ``migrate`` does, and give the process.

    Once it has been waited for, do something and end.
    """
    turn = one_at_a_time.take_turn(connection, lambda *_: None)
    one_at_a_time._ours.discard(turn.pid)  # it is another process that we play

    def end() -> None:
        with psycopg.connect(**parameters(), autocommit=True) as session:
            if then:
                session.execute(then)
        turn.end()

    waits = (
        "SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND pid <> %s"
        " AND query LIKE %s"
    )
    name = f"%{one_at_a_time.WAITS}"
    with found_for(0.4, waits, turn.pid, name) as has_waited, calling(end, when=has_waited):
        yield turn.pid


def record(*names: str) -> str:
    """Return what another ``migrate`` records of migrations that it has applied."""
    values = ", ".join(f"('cases', '{name}', now())" for name in names)
    return f"INSERT INTO django_migrations (app, name, applied) VALUES {values}"


def execute(sql: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(sql)


def insert(what: str) -> migrations.RunSQL:
    return migrations.RunSQL(
        f"INSERT INTO recording_log (what) VALUES ('{what}')",
        f"INSERT INTO recording_log (what) VALUES ('back {what}')",
    )


def test_it_waits_says_for_whom_and_does_what_is_left(
    cases: Cases, settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    for number in (1, 2, 3):
        cases.add(f"000{number}_inserts", insert(str(number)))
    settings.CONFITURE = {}
    caplog.set_level("INFO", "django_confiture.migrate")
    out = StringIO()
    with another_migrate(then=record("0001_inserts", "0002_inserts")) as pid:
        cases.migrate(verbosity=1, stdout=out)
    assert recording.persisted() == ["3"]
    rows = query("SELECT name, count(*) FROM django_migrations WHERE app = 'cases' GROUP BY 1")
    assert dict(rows) == {"0001_inserts": 1, "0002_inserts": 1, "0003_inserts": 1}
    said = out.getvalue()
    assert re.search(
        r"  Waiting for another migrate of this database: django-confiture migrate "
        rf"\S+:{os.getpid()}, pid {pid}, connected for \S+ m?s\.\n"
        r"  Waited \S+ m?s for it; 2 migrations of this plan were applied meanwhile\.\n"
        r"Running migrations:\n  Applying cases\.0003_inserts",
        said,
    ), said
    ((_, waits),) = events(caplog, "waits_for_migrate")
    assert (waits["migration"], waits["app_label"]) == ("0001_inserts", "cases")
    assert [each["pid"] for each in waits["blocked_by"]] == [pid]
    ((_, goes_on),) = events(caplog, "goes_on_after_migrate")
    assert goes_on["left_out"] == 2
    assert goes_on["waited_ms"] >= 300


def test_a_state_that_another_one_has_changed_is_caught_up_with(
    cases: Cases, settings: Settings
) -> None:
    key = ("id", models.AutoField(primary_key=True))
    found: list[list[str]] = []

    def look(apps: Any, schema_editor: Any) -> None:
        found.append(sorted(each.name for each in apps.get_model("cases", "Book")._meta.fields))

    cases.add("0001_book", migrations.CreateModel("Book", [key]))
    cases.add("0002_title", migrations.AddField("Book", "title", models.TextField(default="")))
    cases.add("0003_looks", migrations.RunPython(look))
    cases.add("0004_year", migrations.AddField("Book", "year", models.IntegerField(null=True)))
    cases.migrate("0001")
    settings.CONFITURE = {}
    then = "ALTER TABLE cases_book ADD title text NOT NULL DEFAULT ''; " + record("0002_title")
    with another_migrate(then=then):
        cases.migrate()
    assert found == [["id", "title"]]
    assert len(cases.applied()) == 4


def test_all_of_it_may_be_done(cases: Cases, settings: Settings) -> None:
    cases.add("0001_inserts", insert("1"))
    settings.CONFITURE = {}
    out = StringIO()
    with another_migrate(then=record("0001_inserts")):
        cases.migrate(verbosity=1, stdout=out)
    assert recording.persisted() == []
    assert "1 migration of this plan was applied meanwhile." in out.getvalue()
    assert "No migrations to apply." in out.getvalue()


def test_backwards_as_well(cases: Cases, settings: Settings) -> None:
    cases.add("0001_inserts", insert("1"))
    cases.add("0002_inserts", insert("2"))
    cases.migrate()
    settings.CONFITURE = {}
    then = "DELETE FROM django_migrations WHERE name = '0002_inserts'"
    with another_migrate(then=then):
        cases.migrate("zero")
    assert recording.persisted() == ["1", "2", "back 1"]
    assert cases.applied() == set()


def test_what_was_undone_meanwhile_is_refused(cases: Cases, settings: Settings) -> None:
    cases.add("0001_inserts", insert("1"))
    cases.add("0002_inserts", insert("2"))
    cases.migrate("0001")
    settings.CONFITURE = {}
    then = "DELETE FROM django_migrations WHERE name = '0001_inserts'"
    with (
        another_migrate(then=then),
        pytest.raises(exceptions.MigrateRefused) as refused,
    ):
        cases.migrate()
    assert str(refused.value) == (
        "cases.0001_inserts, which cases.0002_inserts needs, was undone by another migrate after "
        "this one had made its plan; run migrate again."
    )
    assert recording.persisted() == ["1"]


def test_another_schema_is_another_migrate(cases: Cases, settings: Settings) -> None:
    """As with django-tenants, whose migrates run side by side."""
    with connection.cursor() as cursor:
        cursor.execute("CREATE SCHEMA IF NOT EXISTS recording_tenant")
        cursor.execute("SET search_path = recording_tenant, public")
    try:
        with another_migrate():
            connection.close()
            cases.add("0001_inserts", insert("1"))
            started = time.monotonic()
            cases.migrate()
            assert time.monotonic() - started < 20
    finally:
        with connection.cursor() as cursor:
            cursor.execute("DROP SCHEMA recording_tenant CASCADE")


def test_switched_off_it_waits_for_no_one(cases: Cases, settings: Settings) -> None:
    found: list[Any] = []
    cases.add("0001_looks", migrations.RunPython(lambda apps, editor: found.extend(query(HOLDERS))))
    settings.CONFITURE = {"MIGRATE": {"ONE_AT_A_TIME": False}}
    cases.migrate()
    assert found == []


def test_nothing_to_apply_costs_no_connection(cases: Cases, settings: Settings) -> None:
    cases.add("0001_inserts", insert("1"))
    settings.CONFITURE = {}
    cases.migrate()
    with another_migrate():
        started = time.monotonic()
        cases.migrate()
        assert time.monotonic() - started < 20


@pytest.mark.parametrize("fails", ["", "migration", "receiver"])
def test_the_lock_ends_with_the_plan(cases: Cases, settings: Settings, fails: str) -> None:
    found: list[Any] = []
    looks = migrations.RunPython(lambda apps, editor: found.extend(query(HOLDERS)))
    failing = [migrations.RunSQL("SELECT 1 / 0")] if fails == "migration" else []
    cases.add("0001_looks", looks, *failing)
    settings.CONFITURE = {}

    def receiver(**_: Any) -> None:
        raise ValueError("not today")

    last = [each for each in installed.get_app_configs() if each.models_module][-1]
    if fails == "receiver":
        models.signals.post_migrate.connect(receiver, sender=last)
    try:
        if fails:
            with pytest.raises(Exception, match=r"division by zero|not today"):
                cases.migrate()
        else:
            cases.migrate()
    finally:
        models.signals.post_migrate.disconnect(receiver, sender=last)
    assert found == [(one_at_a_time.application_name(),)]
    if fails != "receiver":  # that is the process's last word, or the next migrate's first
        assert query(HOLDERS) == []
    plan_session.close_session("default")
    assert query(HOLDERS) == []


def test_a_migrate_within_a_migrate_does_not_wait_for_itself(
    cases: Cases, settings: Settings
) -> None:
    def again(apps: Any, schema_editor: Any) -> None:
        call_command("migrate", "auth", "zero", fake=True, verbosity=0)
        call_command("migrate", "auth", fake=True, verbosity=0)

    cases.add("0001_calls", migrations.RunPython(again), atomic=False)
    cases.add("0002_fine", insert("2"))
    settings.CONFITURE = {}
    cases.migrate("0001")
    assert cases.applied() == {"0001_calls"}


def test_a_migrate_within_a_migrate_leaves_the_first_one_its_lock_and_its_watch(
    cases: Cases, settings: Settings
) -> None:
    holders: list[list[tuple[Any, ...]]] = []

    def again(apps: Any, schema_editor: Any) -> None:
        call_command("migrate", "auth", "zero", fake=True, verbosity=0)
        call_command("migrate", "auth", fake=True, verbosity=0)
        holders.append(query(HOLDERS))

    cases.add("0001_calls", migrations.RunPython(again))
    cases.add("0002_blocks", migrations.RunSQL("LOCK recording_parent; SELECT pg_sleep(3)"))
    settings.CONFITURE = {"MIGRATE": {"MAX_BLOCKING": "300ms"}}
    with (
        client("SELECT FROM recording_parent") as shop,
        pytest.raises(exceptions.MigrationGaveWay),
    ):
        cases.migrate()
    assert holders == [[(one_at_a_time.application_name(),)]]
    assert shop.longest_s < 2
    assert query(HOLDERS) == []


def _has_nothing_to_migrate() -> None:
    call_command("migrate", "contenttypes", verbosity=0)


def _makes_permissions() -> None:
    emit_post_migrate_signal(0, False, "default")


@pytest.mark.parametrize("sends", [_has_nothing_to_migrate, _makes_permissions])
def test_a_migration_that_sends_post_migrate_leaves_its_migrate_the_lock(
    cases: Cases, sends: Callable[[], None]
) -> None:
    held: list[Any] = []

    def run(*_: Any) -> None:
        sends()
        held.append(query(HOLDERS))

    cases.add("0001_sends", migrations.RunPython(run))
    cases.add("0002_looks", migrations.RunPython(lambda *_: held.append(query(HOLDERS))))

    cases.migrate()

    assert [len(each) for each in held] == [1, 1]
    assert query(HOLDERS) == []


def test_threads_that_migrate_have_a_session_each(cases: Cases, settings: Settings) -> None:
    """As where tenants are migrated side by side: each thread has its own schema."""
    both = threading.Barrier(2, timeout=20)
    found: list[int] = []

    def meets(apps: Any, schema_editor: Any) -> None:
        if query("SELECT current_schema()") == [("public",)]:
            thread.start()
            both.wait()
            found.append(len(query(HOLDERS)))
        else:
            both.wait()
        both.wait()

    def migrate_tenant() -> None:
        try:
            execute("SET search_path = tenant")
            cases.migrate()
        finally:
            connection.close()

    thread = threading.Thread(target=migrate_tenant)
    cases.add("0001_meets", migrations.RunPython(meets), atomic=False)
    settings.CONFITURE = {}
    execute("CREATE SCHEMA tenant")
    try:
        cases.migrate()
        thread.join()
        done = query("SELECT name FROM tenant.django_migrations WHERE app = 'cases'")
    finally:
        thread.join()
        execute("DROP SCHEMA tenant CASCADE")
    assert done == [("0001_meets",)]
    assert found == [2]


def test_without_a_connection_for_the_lock_it_says_so_and_goes_on(
    cases: Cases,
    settings: Settings,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("django_confiture.migrate.sessions.second_connection.PATIENCE", 0.5)
    cases.add("0001_inserts", insert("1"))
    settings.CONFITURE = {}
    with pooled("session", answers=1):
        cases.migrate()
    assert recording.persisted() == ["1"]
    (warning,) = [each for each in caplog.records if "for the lock" in each.getMessage()]
    assert warning.getMessage() == (
        "Another migrate could start meanwhile: no connection for the lock that keeps it out "
        "(no answer within 0.5 s)"
    )


@pytest.mark.parametrize("mode", ["session", "transaction"])
def test_through_pgbouncer(cases: Cases, settings: Settings, mode: str) -> None:
    cases.add("0001_inserts", insert("1"))
    cases.add("0002_inserts", insert("2"))
    settings.CONFITURE = {}
    with behind_pgbouncer(mode):
        with another_migrate(then=record("0001_inserts")):
            cases.migrate()
        assert query(HOLDERS) == []
    assert recording.persisted() == ["2"]


@contextmanager
def timeouts_of_the_database(names: Sequence[str]) -> Iterator[None]:
    """Let each session that is opened meanwhile have such timeouts."""
    database = connection.settings_dict["NAME"]
    with psycopg.connect(**parameters(), autocommit=True) as other:
        for name in names:
            other.execute(f"ALTER DATABASE \"{database}\" SET {name} = '1h'")
        try:
            yield
        finally:
            for name in names:
                other.execute(f'ALTER DATABASE "{database}" RESET {name}')


@pytest.mark.parametrize(
    ("pool", "names"),
    [
        (nullcontext, ["idle_session_timeout"]),
        (
            partial(behind_pgbouncer, "transaction"),
            ["idle_in_transaction_session_timeout", "transaction_timeout"],
        ),
    ],
)
def test_no_timeout_ends_its_lock(
    pool: Callable[[], AbstractContextManager[None]], names: list[str]
) -> None:
    known = {name for (name,) in query("SELECT name FROM pg_settings")}
    names = [name for name in names if name in known]  # the last one is new in PostgreSQL 17
    with timeouts_of_the_database(names), pool():
        turn = one_at_a_time.take_turn(connection, lambda *_: None)
        found = [turn.raw.execute(f"SHOW {name}").fetchone() for name in names]
        turn.end()
    assert found == [("0",)] * len(names)


def test_a_pool_with_a_single_session_is_refused(
    cases: Cases, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("django_confiture.migrate.sessions.second_connection.PATIENCE", 1)
    cases.add("0001_inserts", insert("1"))
    settings.CONFITURE = {}
    with (
        behind_pgbouncer("transaction", default_pool_size=1),
        pytest.raises(exceptions.MigrateRefused, match="has no second session to give"),
    ):
        cases.migrate()
    assert recording.persisted() == []


PLAIN = """
from django.db import migrations


class Migration(migrations.Migration):
    dependencies = {dependencies}
    operations = [
        migrations.RunSQL("INSERT INTO recording_log (what) VALUES ('{name}')"),
        migrations.RunSQL("SELECT pg_sleep(0.4)"),
    ]
"""


def test_ten_at_once_and_three_of_them_killed(cases: Cases) -> None:
    names = [f"000{number}_inserts" for number in range(1, 7)]
    for index, name in enumerate(names):
        before = [("cases", names[index - 1])] if index else []
        cases.write(name, PLAIN.format(dependencies=before, name=name))
    processes = [migrate_process.start(cases.package, settings={}) for _ in range(10)]
    try:
        killed: set[int] = set()
        until = time.monotonic() + 120
        while len(killed) < 3 and time.monotonic() < until:
            for (holder,) in query(HOLDERS):
                pid = int(holder.rpartition(":")[2])
                if pid not in killed:
                    os.kill(pid, signal.SIGKILL)
                    killed.add(pid)
                    break
            time.sleep(0.1)
        ends = [(each.pid, each.communicate(timeout=120)[0], each.returncode) for each in processes]
    finally:
        for each in processes:
            each.kill()
    assert len(killed) == 3
    assert [out for pid, out, code in ends if code != 0 and pid not in killed] == []
    assert recording.persisted() == names
    rows = query("SELECT name FROM django_migrations WHERE app = 'cases' ORDER BY id")
    assert [name for (name,) in rows] == names
    assert query(HOLDERS) == []


END_HOLDERS = HOLDERS.replace("a.application_name", "pg_terminate_backend(a.pid)")
LOST = (
    "The session that kept other migrates of this database out is gone, so another "
    "one may be at work by now. {}Run migrate again: it waits for the other one, and applies what "
    "is still missing."
)


def test_whose_lock_is_lost_rolls_back_what_it_was_at_and_stops(cases: Cases) -> None:
    cases.write("0001_slow", PLAIN.format(dependencies=[], name="slow").replace("0.4", "2"))
    cut = migrate_process.start(cases.package, settings={"MIGRATE": {"LOCK_TIMEOUT": "30s"}})
    try:
        wait_for_rows(
            "SELECT 1 FROM pg_stat_activity"
            " WHERE query LIKE 'SELECT pg_sleep%%' AND datname = current_database()"
        )
        query(END_HOLDERS)
        other = migrate_process.start(cases.package, settings={})
        said, _ = cut.communicate(timeout=60)
        others, _ = other.communicate(timeout=60)
    finally:
        cut.kill()
    assert said.strip().endswith(LOST.format("cases.0001_slow was rolled back. ")), said
    assert (cut.returncode, other.returncode) == (1, 0), others
    assert recording.persisted() == ["slow"]


def test_whose_lock_is_lost_between_two_migrations_does_not_begin_the_next(cases: Cases) -> None:
    cases.add("0001_first", insert("first"))
    cases.add("0002_loses", migrations.RunPython(lose_the_lock), atomic=False)
    cases.add("0003_third", insert("third"))
    with pytest.raises(exceptions.MigrateRefused) as refused:
        cases.migrate()
    assert str(refused.value) == LOST.format("")
    assert cases.applied() == {"0001_first", "0002_loses"}
    cases.migrate()
    assert recording.persisted() == ["first", "third"]


@pytest.mark.parametrize(
    ("more", "left"),
    [
        ({"LOCK_TIMEOUT": "30s"}, "has ended its transaction by itself, so parts of it may stay"),
        ({}, "was rolled back, unless it sent a COMMIT of its own"),
    ],
)
def test_whose_lock_is_lost_after_a_commit_of_its_own_does_not_claim_a_rollback(
    cases: Cases, settings: Settings, more: dict[str, str], left: str
) -> None:
    settings.CONFITURE = {"MIGRATE": more}
    commits = migrations.RunSQL("COMMIT; BEGIN")
    cases.add("0001_commits", insert("kept"), commits, migrations.RunPython(lose_the_lock))
    with pytest.raises(exceptions.MigrateRefused) as refused:
        cases.migrate()
    assert str(refused.value) == LOST.format(f"cases.0001_commits {left}. ")
    assert recording.persisted() == ["kept"]
    assert cases.applied() == set()


def lose_the_lock(apps: Any, editor: Any) -> None:
    with psycopg.connect(**parameters(), autocommit=True) as session:
        session.execute(END_HOLDERS)
        time.sleep(0.2)


def wait_for_rows(sql: str) -> None:
    until = time.monotonic() + 30
    while not query(sql):
        assert time.monotonic() < until, sql
        time.sleep(0.05)
