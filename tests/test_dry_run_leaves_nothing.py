"""Whatever a migration does, nothing of it is left: rows, schema, connections, patches."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import psycopg
import pytest
from django.contrib.auth.models import Group
from django.db import DatabaseError, connection, connections, transaction
from django.db.migrations.operations.base import Operation
from psycopg import ClientCursor, RawCursor

from django_confiture import DryRunError, DryRunExecutor
from django_confiture.exceptions import DryRunRefused
from tests.dry_run_support import (
    executes,
    fingerprint,
    migration,
    parameters,
    plain_connection,
    python,
    runs,
)

LEAK = "UPDATE dry_row SET name = 'LEAK'"
PILL = "confiture_no_commit"


def dry_run(*operations: Operation, atomic: bool = True) -> BaseException | None:
    """Rehearse; return why it failed."""
    try:
        DryRunExecutor().run(connection, migration(*operations, atomic=atomic))
    except (DryRunError, DryRunRefused) as error:
        return error
    return None


SCRIPTS = {
    "nothing unusual": LEAK,
    "begin and commit": f"BEGIN; {LEAK}; COMMIT",
    "begin and rollback": f"BEGIN; {LEAK}; ROLLBACK",
    "rollback first": f"ROLLBACK; {LEAK}",
    "commit and chain": f"{LEAK}; COMMIT AND CHAIN; {LEAK}",
    "abort": f"ABORT; {LEAK}",
    "end": f"{LEAK}; END",
    "prepare transaction": f"{LEAK}; PREPARE TRANSACTION 'leak'",
    "commit in lower case between comments": f"{LEAK}; /* a */ commit -- b",
    "commit inside a DO block": f"DO $$ BEGIN {LEAK}; COMMIT; END $$",
    "rollback inside a DO block": f"DO $$ BEGIN ROLLBACK; {LEAK}; COMMIT; END $$",
    "a procedure that commits": "CALL dry_commits()",
    "discard all": f"{LEAK}; DISCARD ALL",
    "discard temp": f"DISCARD TEMP; {LEAK}; COMMIT",
    "unreadable before a commit": f"{LEAK}; frobnicate; COMMIT",
    "drops one table of the guard": f"DROP TABLE {PILL}_b; {LEAK}; COMMIT",
    "drops the guard and commits in a block": (
        f"DO $$ BEGIN DROP TABLE {PILL}_b; DROP TABLE {PILL}_a; {LEAK}; COMMIT; END $$"
    ),
    "truncate": "TRUNCATE dry_row, dry_child",
    "drop": "DROP TABLE dry_parent CASCADE",
    "rewrite": "ALTER TABLE dry_row ALTER number TYPE bigint",
    "new objects": (
        "CREATE TABLE dry_new (id serial); CREATE TYPE dry_mood AS ENUM ('ok');"
        "CREATE FUNCTION dry_f() RETURNS int LANGUAGE sql AS 'SELECT 1'; CREATE SCHEMA dry_schema"
    ),
    "settings of the session": (
        "SET lock_timeout = '7s'; SET search_path = pg_catalog; SET application_name = 'leak'"
    ),
    "role": "SET ROLE pg_read_all_data",
    "vacuum": "VACUUM FULL dry_row",
    "concurrently": "CREATE INDEX CONCURRENTLY dry_index ON dry_row (number)",
    "reindex": "REINDEX TABLE CONCURRENTLY dry_row",
    "error": f"{LEAK}; SELECT 1 / 0",
}


@pytest.mark.parametrize("atomic", [True, False], ids=["atomic", "non-atomic"])
@pytest.mark.parametrize("script", SCRIPTS.values(), ids=SCRIPTS)
def test_no_script_leaves_anything(untouched: None, script: str, atomic: bool) -> None:
    dry_run(runs(script), atomic=atomic)


def test_a_leak_would_be_seen(scratch: None) -> None:
    """Without this the module proves nothing."""
    with plain_connection() as plain:
        before = fingerprint(plain)
        for harm in (LEAK, "ALTER TABLE dry_row ADD x int", "CREATE INDEX ON dry_row (name)"):
            plain.execute(harm)
            after = fingerprint(plain)
            assert after != before
            before = after


# What a cursor sends in one message, past the splitting of scripts.


def client_executemany(raw: psycopg.Connection[Any]) -> None:
    ClientCursor(raw).executemany("ROLLBACK; UPDATE dry_row SET name = %s", [["LEAK"]])


def executemany(raw: psycopg.Connection[Any]) -> None:
    raw.cursor().executemany("COMMIT", [[]])
    raw.execute(LEAK)


def executemany_rollback(raw: psycopg.Connection[Any]) -> None:
    raw.cursor().executemany("ROLLBACK", [[]])
    raw.execute(LEAK)


def stream(raw: psycopg.Connection[Any]) -> None:
    list(raw.cursor().stream("ROLLBACK"))
    raw.execute(LEAK)


def copy_after_rollback(raw: psycopg.Connection[Any]) -> None:
    cursor = raw.cursor()
    with cursor.copy("ROLLBACK; COPY dry_row FROM STDIN") as copy:
        copy.write_row([5000, "LEAK", 1, "x"])


def unreadable_in_a_literal_place(raw: psycopg.Connection[Any]) -> None:
    """A placeholder where the grammar has a literal only; Django's cursor fills it in itself."""
    ClientCursor(raw).execute(
        "COMMENT ON TABLE dry_row IS %s; ROLLBACK; UPDATE dry_row SET name = 'LEAK'", ["LEAK"]
    )


def unreadable_number(raw: psycopg.Connection[Any]) -> None:
    ClientCursor(raw).execute(
        f"CREATE SEQUENCE s; ALTER SEQUENCE s RESTART WITH %s; ROLLBACK; {LEAK}", [5]
    )


def too_deep_for_the_parser(raw: psycopg.Connection[Any]) -> None:
    raw.execute(f"SELECT {'+'.join(['1'] * 300)}; ROLLBACK; {LEAK}")


def raw_commit(raw: psycopg.Connection[Any]) -> None:
    raw.execute(LEAK)
    raw.commit()


def raw_rollback(raw: psycopg.Connection[Any]) -> None:
    raw.rollback()
    raw.execute(LEAK)


def as_context_manager(raw: psycopg.Connection[Any]) -> None:
    with raw:
        raw.execute(LEAK)


def below_the_driver(raw: psycopg.Connection[Any]) -> None:
    """The guard refuses this COMMIT; what comes after it must not run outside a transaction."""
    raw.execute(LEAK)
    raw.pgconn.exec_(b"COMMIT")
    raw.execute("INSERT INTO dry_parent VALUES (99)")


def rollback_below_the_driver(raw: psycopg.Connection[Any]) -> None:
    raw.pgconn.exec_(b"ROLLBACK")
    with raw.cursor().copy("COPY dry_parent FROM STDIN") as copy:
        copy.write_row([99, "LEAK"])


def nested_transaction(raw: psycopg.Connection[Any]) -> None:
    with raw.transaction():
        raw.execute(LEAK)


def pipeline(raw: psycopg.Connection[Any]) -> None:
    with raw.pipeline():
        raw.execute(LEAK)
        raw.execute("COMMIT")
        raw.execute("INSERT INTO dry_parent VALUES (99)")


def raw_cursor(raw: psycopg.Connection[Any]) -> None:
    RawCursor(raw).execute("UPDATE dry_row SET name = $1", ["LEAK"])
    RawCursor(raw).execute("COMMIT")


def closes_the_session(raw: psycopg.Connection[Any]) -> None:
    raw.execute(LEAK)
    raw.close()


def autocommit_off(raw: psycopg.Connection[Any]) -> None:
    with suppress(psycopg.Error):
        raw.autocommit = False
    raw.execute(LEAK)
    raw.commit()


DRIVER = [
    client_executemany,
    executemany,
    executemany_rollback,
    stream,
    copy_after_rollback,
    unreadable_in_a_literal_place,
    unreadable_number,
    too_deep_for_the_parser,
    raw_commit,
    raw_rollback,
    as_context_manager,
    below_the_driver,
    rollback_below_the_driver,
    nested_transaction,
    pipeline,
    raw_cursor,
    closes_the_session,
    autocommit_off,
]


@pytest.mark.parametrize("atomic", [True, False], ids=["atomic", "non-atomic"])
@pytest.mark.parametrize("code", DRIVER)
def test_nothing_done_with_the_driver_is_left(
    untouched: None, code: Callable[[Any], None], atomic: bool
) -> None:
    dry_run(python(lambda _apps, editor: code(editor.connection.connection)), atomic=atomic)


# What Django offers.


def durable() -> None:
    with transaction.atomic(durable=True), connection.cursor() as cursor:
        cursor.execute(LEAK)


def autocommit_games() -> None:
    transaction.set_autocommit(False)
    with connection.cursor() as cursor:
        cursor.execute(LEAK)
        transaction.commit()
        cursor.execute("DELETE FROM dry_child")
        transaction.rollback()
    transaction.set_autocommit(True)


def autocommit_left_off() -> None:
    transaction.set_autocommit(False)
    with connection.cursor() as cursor:
        cursor.execute(LEAK)


def swallows_errors() -> None:
    Group.objects.create(name="LEAK")
    with suppress(DatabaseError):
        Group.objects.create(name="LEAK")
    with suppress(DatabaseError), connection.cursor() as cursor:
        cursor.execute("SELECT 1 / 0")
    Group.objects.create(name="LEAK 2")


def callbacks() -> None:
    def leak() -> None:
        with connection.cursor() as cursor:
            cursor.execute(LEAK)

    transaction.on_commit(leak)
    with transaction.atomic():
        transaction.on_commit(leak)


def closes_the_connection() -> None:
    connection.close()
    with connection.cursor() as cursor:
        cursor.execute(LEAK)


def connects_again() -> None:
    connection.close()
    connection.connect()
    with connection.cursor() as cursor:
        cursor.execute(LEAK)
    connection.connection.commit()


def closes_all() -> None:
    connections.close_all()
    with connection.cursor() as cursor:
        cursor.execute(LEAK)


def advisory_lock() -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(1)")


def on_the_other_alias() -> None:
    with connections["other"].cursor() as cursor:
        cursor.execute(LEAK)
        cursor.execute(f"BEGIN; {LEAK}; COMMIT")
    with transaction.atomic("other"), connections["other"].cursor() as cursor:
        cursor.execute("DELETE FROM dry_child")
    connections["other"].connection.commit()
    connections["other"].close()
    with connections["other"].cursor() as cursor:
        cursor.execute(f"ROLLBACK; {LEAK}")


def in_a_thread() -> None:
    def work() -> None:
        with connection.cursor() as cursor:
            cursor.execute(LEAK)
        with connections["other"].cursor() as cursor:
            cursor.execute(LEAK)
        connections.close_all()

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()


def with_a_connection_of_its_own() -> None:
    with psycopg.connect(**parameters(), autocommit=True) as own, suppress(psycopg.Error):
        own.execute(LEAK)


DJANGO = [
    durable,
    autocommit_games,
    autocommit_left_off,
    swallows_errors,
    callbacks,
    closes_the_connection,
    connects_again,
    closes_all,
    advisory_lock,
    on_the_other_alias,
    in_a_thread,
    with_a_connection_of_its_own,
]


@pytest.mark.parametrize("atomic", [True, False], ids=["atomic", "non-atomic"])
@pytest.mark.parametrize("ending", ["returns", "raises", "interrupted"])
@pytest.mark.parametrize("code", DJANGO)
def test_nothing_done_with_django_is_left(
    untouched: None, code: Callable[[], None], ending: str, atomic: bool
) -> None:
    def body() -> None:
        code()
        if ending == "raises":
            raise ValueError
        if ending == "interrupted":
            raise KeyboardInterrupt

    if ending == "interrupted":
        with pytest.raises((KeyboardInterrupt, DryRunError)):
            DryRunExecutor().run(connection, migration(python(body), atomic=atomic))
    else:
        dry_run(python(body), atomic=atomic)


# Other databases and aliases.


@pytest.fixture
def mirror(untouched: None) -> Iterator[str]:
    """An alias of the same database under another name."""
    connections.databases["mirror"] = {**connections.databases["default"]}
    try:
        yield "mirror"
    finally:
        connections["mirror"].close()
        del connections["mirror"], connections.databases["mirror"]


@pytest.mark.parametrize("connected", [True, False], ids=["connected before", "connects in it"])
@pytest.mark.parametrize("atomic", [True, False], ids=["atomic", "non-atomic"])
def test_an_alias_of_the_same_database_sees_what_is_rehearsed(
    mirror: str, connected: bool, atomic: bool
) -> None:
    if connected:
        connections[mirror].ensure_connection()

    def body() -> None:
        with connection.cursor() as cursor:
            cursor.execute("ALTER TABLE dry_row ADD added int")
        with transaction.atomic(mirror), connections[mirror].cursor() as cursor:
            cursor.execute("UPDATE dry_row SET added = 1")

    assert dry_run(python(body), atomic=atomic) is None


@pytest.mark.parametrize("connected", [True, False], ids=["connected before", "connects in it"])
def test_sqlite_is_rolled_back(untouched: None, tmp_path: Path, connected: bool) -> None:
    settings = {**connections.databases["default"], "OPTIONS": {}}
    settings |= {"ENGINE": "django.db.backends.sqlite3", "NAME": str(tmp_path / "lite.db")}
    connections.databases["lite"] = settings
    try:
        with connections["lite"].cursor() as cursor:
            cursor.execute("CREATE TABLE leak (id integer)")
        if not connected:
            connections["lite"].close()

        def body() -> None:
            with connections["lite"].cursor() as cursor:
                cursor.execute("INSERT INTO leak VALUES (1)")
            with transaction.atomic("lite"), connections["lite"].cursor() as cursor:
                cursor.execute("INSERT INTO leak VALUES (1)")

        assert dry_run(python(body)) is None
        with connections["lite"].cursor() as cursor:
            assert cursor.execute("SELECT count(*) FROM leak").fetchone() == (0,)
    finally:
        connections["lite"].close()
        del connections["lite"], connections.databases["lite"]


def test_a_connection_of_its_own_gives_up_on_a_lock_that_we_hold(untouched: None) -> None:
    """PostgreSQL sees no deadlock: the one waits for a lock, the other in Python."""

    def body() -> None:
        with connection.cursor() as cursor:
            cursor.execute("ALTER TABLE dry_row ADD added int")
        with psycopg.connect(**parameters(), autocommit=True) as own:
            own.execute("SELECT count(*) FROM dry_row")

    error = dry_run(python(body))

    assert "lock timeout" in str(error)


def test_a_connection_of_its_own_may_read(untouched: None) -> None:
    def body() -> None:
        with psycopg.connect(**parameters()) as own:
            assert own.execute("SELECT count(*) FROM dry_row").fetchone() == (1000,)

    result = DryRunExecutor().run(connection, migration(python(body)))

    assert any("1 connection(s) were opened past Django's" in each for each in result.warnings)


def test_no_callback_is_called_and_each_is_counted(untouched: None) -> None:
    called = []

    def body() -> None:
        transaction.on_commit(lambda: called.append(1))

    for atomic in (True, False):
        result = DryRunExecutor().run(connection, migration(python(body), atomic=atomic))
        assert any("1 on_commit callback(s) were not called" in each for each in result.warnings)
    assert called == []


# Inside a transaction of the caller's, as in a TestCase.


@pytest.mark.django_db(databases=["default", "other"])
@pytest.mark.parametrize("data", [True, False], ids=["with data", "without data"])
@pytest.mark.parametrize(
    "operation", [runs("BEGIN; DELETE FROM auth_group; COMMIT"), python(durable), python(callbacks)]
)
def test_in_a_test_case_the_transaction_stays_as_it_was(operation: Operation, data: bool) -> None:
    if data:
        Group.objects.create(name="before")
        transaction.on_commit(lambda: None)
        Group.objects.using("other").create(name="before")
    state = {**vars(connection._connections[connection._alias])}
    before = [fingerprint(connections[alias].connection) for alias in ("default", "other")]

    dry_run(operation)

    after = [fingerprint(connections[alias].connection) for alias in ("default", "other")]
    assert after == before
    assert vars(connection._connections[connection._alias]) == state
    assert Group.objects.filter(name="before").exists() is data
    with transaction.atomic():
        Group.objects.create(name="after")
    assert Group.objects.filter(name="after").exists()


def test_a_broken_transaction_is_refused(scratch: None) -> None:
    with suppress(DatabaseError), transaction.atomic():
        try:
            executes("SELECT 1 / 0").code(None, None)
        finally:
            error = dry_run(runs(LEAK))

    assert isinstance(error, DryRunRefused)
    assert "is in a broken transaction (INERROR); roll it back first" in str(error)


# The connection is lost.


def test_a_lost_connection_is_an_error_of_the_migration(scratch: None) -> None:
    error = dry_run(executes("SELECT pg_terminate_backend(pg_backend_pid())"))

    assert isinstance(error, DryRunError)
    assert "terminating connection" in str(error)
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")
