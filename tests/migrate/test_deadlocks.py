"""Deadlocks made on purpose: an atomic migration is tried again, no other is."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from typing import Any

import psycopg
import pytest
from django.db import DatabaseError, connection, migrations
from pytest_django import Settings

from django_confiture.exceptions import MigrationGotNoLock
from tests.cases.migrations_on_disk import Cases, table_exists
from tests.support import migrate_process, recording
from tests.support.logs import events
from tests.support.pools import behind_pgbouncer
from tests.support.sessions import connect, holding

RETRY = {"LOCK_TIMEOUT": "20s", "LOCK_RETRIES": 3, "RETRY_DELAY": "2ms"}

attempts: list[int] = []


@pytest.fixture(autouse=True)
def _tables(cases: Cases) -> Iterator[None]:
    attempts.clear()
    with recording.recording():
        yield
    connection.close()


@contextmanager
def crossing() -> Iterator[Callable[[], None]]:
    """Give what makes another session want our table, while it holds the one that we want next.

    The session that checks for deadlocks first is the victim: the other session never checks.
    """
    with connect("crossing") as other:
        other.execute("SET deadlock_timeout = '20s'")
        other.execute("LOCK TABLE recording_child")
        threads: list[threading.Thread] = []

        def wants_ours() -> None:
            other.execute("LOCK TABLE recording_parent")
            other.rollback()

        def begin() -> None:
            threads.append(threading.Thread(target=wants_ours))
            threads[-1].start()
            while not other_waits(other.info.backend_pid):
                time.sleep(0.01)

        yield begin
        for thread in threads:
            thread.join()


def other_waits(pid: int) -> bool:
    with connection.cursor() as cursor:
        cursor.execute("SELECT EXISTS (SELECT FROM pg_locks WHERE pid = %s AND NOT granted)", [pid])
        ((waits,),) = cursor.fetchall()
        return bool(waits)


def cross(begin: Callable[[], None], apps: Any, schema_editor: Any) -> None:
    attempts.append(len(attempts) + 1)
    if len(attempts) == 1:
        begin()


def operations(begin: Callable[[], None]) -> list[Any]:
    return [
        recording.operation(),
        migrations.RunSQL("BEGIN; LOCK TABLE recording_parent"),
        migrations.RunPython(partial(cross, begin)),
        migrations.RunSQL("LOCK TABLE recording_child; CREATE TABLE cases_made ()"),
    ]


def through(mode: str) -> AbstractContextManager[None]:
    return behind_pgbouncer(mode) if mode else nullcontext()


pools = pytest.mark.parametrize("mode", ["", "session", "transaction"])


@pools
@pytest.mark.filterwarnings("ignore:there is already a transaction")
def test_an_atomic_migration_is_tried_again(
    cases: Cases, settings: Settings, caplog: pytest.LogCaptureFixture, mode: str
) -> None:
    settings.CONFITURE = {"MIGRATE": RETRY}
    with crossing() as begin, through(mode):
        cases.add("0001_crosses", *operations(begin))
        cases.migrate()
    assert attempts == [1, 2]
    assert table_exists("cases_made")
    assert recording.persisted() == ["operation"]
    ((_, facts),) = events(caplog, "lock_timeout_retry")
    assert facts["sqlstate"] == "40P01"
    assert (facts["attempt"], facts["migration"]) == (1, "0001_crosses")
    assert [each["application_name"] for each in facts["blocked_by"]] == ["crossing"]


def test_without_retries_it_fails_at_once(cases: Cases, settings: Settings) -> None:
    settings.CONFITURE = {}
    with crossing() as begin:
        cases.add("0001_crosses", *operations(begin))
        with pytest.raises(DatabaseError, match="deadlock detected"):
            cases.migrate()
    assert attempts == [1]
    assert not table_exists("cases_made")


@pytest.mark.parametrize("mode", ["", "session"])
def test_a_non_atomic_migration_is_not_tried_again(
    cases: Cases, settings: Settings, caplog: pytest.LogCaptureFixture, mode: str
) -> None:
    settings.CONFITURE = {"MIGRATE": RETRY}
    with crossing() as begin, through(mode):
        cases.add("0001_crosses", *operations(begin), atomic=False)
        with pytest.raises(MigrationGotNoLock, match="got no lock: deadlock detected") as caught:
            cases.migrate()
        connection.close()
    assert attempts == [1]
    assert "It is not atomic, so what it had done is committed" in str(caught.value)
    assert events(caplog, "lock_timeout_retry") == []
    assert recording.persisted() == ["operation"]


@pytest.mark.parametrize("sqlstate", ["40001", "57014", "23505", "55006"])
def test_no_other_error_is_tried_again(
    cases: Cases, settings: Settings, caplog: pytest.LogCaptureFixture, sqlstate: str
) -> None:
    raises = f"DO $$ BEGIN RAISE EXCEPTION 'no' USING ERRCODE = '{sqlstate}'; END $$"
    cases.add("0001_fails", recording.operation(), migrations.RunSQL(raises))
    settings.CONFITURE = {"MIGRATE": RETRY}
    with pytest.raises(DatabaseError) as caught:
        cases.migrate()
    assert isinstance(caught.value.__cause__, psycopg.Error)
    assert recording.ran == ["operation"]
    assert events(caplog, "lock_timeout_retry") == []


TENANTS = ("cases_one", "cases_two")
CROSSING_TENANTS = """
import time

from django.db import migrations


def crosses(apps, schema_editor):
    with schema_editor.connection.cursor() as cursor:
        cursor.execute("SELECT current_schema()")
        ((schema,),) = cursor.fetchall()
        tables = ["recording_parent", "recording_child"]
        for table in tables if schema == "cases_one" else reversed(tables):
            cursor.execute(f"LOCK TABLE public.{table}")
            time.sleep(1)
        cursor.execute("CREATE TABLE cases_made ()")


class Migration(migrations.Migration):
    operations = [migrations.RunPython(crosses)]
"""


def test_two_schemas_that_cross_on_shared_tables_are_both_migrated(cases: Cases) -> None:
    """As the parallel executor of django-tenants does: a process and a search_path for each."""
    cases.write("0001_crosses", CROSSING_TENANTS)
    with connect("prepares", autocommit=True) as session:
        for schema in TENANTS:
            session.execute(f"CREATE SCHEMA {schema}")
            session.execute(
                f"CREATE TABLE {schema}.django_migrations"
                " (LIKE public.django_migrations INCLUDING ALL)"
            )
        try:
            processes = [
                migrate_process.start(
                    cases.package,
                    settings={"MIGRATE": RETRY},
                    options={"options": f"-c search_path={schema},public"},
                )
                for schema in TENANTS
            ]
            said = [process.communicate(timeout=60)[0] for process in processes]
            made = [
                session.execute(
                    f"SELECT to_regclass('{schema}.cases_made') IS NOT NULL, count(*)"
                    f" FROM {schema}.django_migrations WHERE app = 'cases'"
                ).fetchone()
                for schema in TENANTS
            ]
        finally:
            for schema in TENANTS:
                session.execute(f"DROP SCHEMA {schema} CASCADE")
    assert [process.returncode for process in processes] == [0, 0], said
    assert made == [(True, 1), (True, 1)]
    assert "deadlock detected" in "".join(said)


def test_a_lock_timeout_says_who_was_in_the_way(
    cases: Cases, settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    cases.add("0001_waits", migrations.RunSQL("LOCK TABLE recording_parent"))
    settings.CONFITURE = {"MIGRATE": {**RETRY, "LOCK_TIMEOUT": "300ms", "LOCK_RETRIES": 1}}
    with (
        holding("LOCK TABLE recording_parent", name="nightly") as pid,
        pytest.raises(DatabaseError, match="lock timeout"),
    ):
        cases.migrate()
    ((_, facts),) = events(caplog, "lock_timeout_retry")
    assert facts["sqlstate"] == "55P03"
    (blocker,) = facts["blocked_by"]
    assert (blocker["pid"], blocker["application_name"]) == (pid, "nightly")
