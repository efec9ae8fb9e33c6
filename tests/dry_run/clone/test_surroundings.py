"""``--clone``: other aliases, pools, hooks, what reaches beyond it, and who is in the way."""

from __future__ import annotations

import re
import signal
import threading
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from typing import Any, ClassVar

import psycopg
import psycopg2
import psycopg2.errors
import pytest
from django.db import connection, connections, transaction
from psycopg import sql
from pytest_django import Settings

from django_confiture import Hook, HookPhase, HookResult
from django_confiture.dry_run.clone.aliases import APPLICATION_NAME, pointed
from django_confiture.dry_run.clone.checks import Source, check_space
from django_confiture.dry_run.clone.dropping import _uninterrupted
from django_confiture.dry_run.clone.leftovers import connection_limit, lock_key, new_name
from django_confiture.dry_run.results import Report
from django_confiture.exceptions import DryRunRefused
from tests.management.test_migrate_dryrun import dry_run
from tests.support.clone import (
    alias_at,
    clones,
    connected_to,
    create,
    drop,
    on_a_copy,
    only,
    source,
)
from tests.support.dry_run import (
    executes,
    fingerprint,
    migration,
    parameters,
    python,
    runs,
    table,
)

__all__ = ["source"]

pytestmark = pytest.mark.usefixtures("source")

WRITES = "UPDATE dry_row SET number = 0"


# Aliases.


def test_an_alias_of_the_same_database_is_a_connection_of_its_own(source: str) -> None:
    seen: list[Any] = []

    def writes() -> None:
        with connections["other"].cursor() as other:
            other.execute(WRITES)
            other.execute("SELECT current_database(), pg_backend_pid()")
            seen.append(other.fetchone())
        with connection.cursor() as cursor:
            cursor.execute("SELECT count(*) FROM dry_row WHERE number = 0")
            assert cursor.fetchone() == (1000,)
        transaction.on_commit(lambda: seen.append("called"), using="other")

    with alias_at("other", NAME=source):
        report = on_a_copy(migration(python(writes), atomic=False))

    (operation,) = only(report).operations
    assert operation.rehearsed == "not_rehearsed"
    assert "Another connection of this process, to 'other', ran SQL" in operation.reason
    ((name, pid),) = seen
    assert name.startswith("confiture_clone_")
    assert pid


@pytest.mark.parametrize("connected", [True, False], ids=["connected before", "connects in it"])
def test_an_alias_that_waits_for_the_migration_itself_does_not_wait_forever(
    source: str, *, connected: bool
) -> None:
    def connects() -> None:
        connections["other"].ensure_connection()

    first = [migration(python(connects))] if connected else []
    waits = migration(
        runs("LOCK TABLE dry_row"), executes(WRITES, using="other"), name="0002_waits"
    )

    with alias_at("other", NAME=source):
        report = on_a_copy(*first, waits)

    result = report.migrations[-1]
    assert result.outcome == "failed"
    assert report.verdict == "failed"
    assert "For real it waits forever" in result.operations[-1].reason


def test_an_alias_that_only_reads_the_clone_is_exact(source: str) -> None:
    with alias_at("other", NAME=source):
        report = on_a_copy(migration(executes("SELECT number FROM dry_row", using="other")))
    assert only(report).operations[0].rehearsed == "exact"


def test_an_alias_of_another_database_is_rolled_back() -> None:
    create(f"{parameters()['dbname']}_elsewhere", "CREATE TABLE dry_far (id integer)")
    far = f"{parameters()['dbname']}_elsewhere"
    try:
        with alias_at("other", NAME=far):
            only(on_a_copy(migration(executes("INSERT INTO dry_far VALUES (1)", using="other"))))
        with connected_to(far) as plain:
            assert plain.execute("SELECT count(*) FROM dry_far").fetchone() == (0,)
    finally:
        drop(far)


def test_a_copy_of_the_database_of_another_alias(source: str) -> None:
    """The migrations of "default" run on a clone of the other one's rows."""
    staging = f"{parameters()['dbname']}_staging"
    with connected_to(source) as plain:
        before = fingerprint(plain)
    create(staging, "CREATE TABLE dry_row (id integer PRIMARY KEY, number integer);")
    try:
        with connected_to(staging) as plain:
            plain.execute("INSERT INTO dry_row VALUES (1, 1), (2, 2)")
        with alias_at("other", NAME=staging), alias_at("default", PORT=1, USER="dry_unknown"):
            report = on_a_copy(migration(runs(WRITES)), of="other")
            assert connections["other"].settings_dict["NAME"] == staging
            assert connections["default"].settings_dict["USER"] == "dry_unknown"
    finally:
        drop(staging)
    assert report.database.name == staging
    assert report.clone is not None
    assert report.clone.of == "other"
    assert table(only(report), "dry_row").rows_written == 2
    with connected_to(source) as plain:
        assert fingerprint(plain) == before


def test_the_command_on_a_copy_of_another_alias() -> None:
    """Nothing connects to the database of "default" itself."""
    staging = f"{parameters()['dbname']}_staging"
    create(staging)
    try:
        with alias_at("other", NAME=staging), alias_at("default", HOST="/nowhere"):
            ran = dry_run("contenttypes", "--clone-of", "other", "--format", "json")
    finally:
        drop(staging)

    assert ran.code == 0, ran
    assert ran.json["database"]["alias"] == "default"
    assert ran.json["database"]["name"] == staging
    assert ran.json["clone"]["of"] == "other"


def test_an_alias_at_another_address_of_the_same_database(source: str) -> None:
    """Only the server can tell that it is the same: it is asked."""
    host = f"{connection.settings_dict['HOST']}/."
    seen = []

    def writes() -> None:
        with connections["other"].cursor() as other:
            other.execute(WRITES)
            other.execute("SELECT current_database()")
            seen.append(other.fetchone()[0])

    with alias_at("other", NAME=source, HOST=host):
        only(on_a_copy(migration(python(writes), atomic=False)))
        assert connections["other"].settings_dict["HOST"] == host
    assert seen[0].startswith("confiture_clone_")


def test_an_alias_that_can_not_be_reached_is_none_of_the_same_database(source: str) -> None:
    with alias_at("other", NAME=source, HOST="/nowhere"):
        only(on_a_copy(migration(runs(WRITES))))


def test_a_large_database_is_copied_file_by_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("django_confiture.dry_run.clone.database._WAL_LOG_UP_TO", 0)
    report = on_a_copy(migration(runs(WRITES)))
    only(report)
    assert report.clone is not None
    assert report.clone.strategy in ("file_copy", "file_copy, clone")


def test_the_session_that_drops_the_clone_is_ended_meanwhile() -> None:
    def ended() -> None:
        with connected_to("postgres") as plain:
            rows = plain.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE application_name = %s",
                [APPLICATION_NAME],
            ).fetchall()
        assert rows == [(True,)]

    report = on_a_copy(migration(python(ended), atomic=False))
    only(report)
    assert report.rolled_back
    assert clones() == []


def test_a_pool_does_not_lead_back_to_the_source(source: str) -> None:
    options = {**connection.settings_dict["OPTIONS"], "pool": {"min_size": 3, "max_size": 3}}
    with alias_at("default", OPTIONS=options):
        connection.ensure_connection()
        only(on_a_copy(migration(runs(WRITES))))
        with connection.cursor() as cursor:
            cursor.execute("SELECT current_database()")
            assert cursor.fetchone() == (source,)


def test_a_thread_writes_to_the_copy() -> None:
    def in_a_thread() -> None:
        def write() -> None:
            with connection.cursor() as cursor:
                cursor.execute(WRITES)
            connection.close()

        thread = threading.Thread(target=write)
        thread.start()
        thread.join()
        with connection.cursor() as cursor:
            cursor.execute("SELECT count(*) FROM dry_row WHERE number = 0")
            assert cursor.fetchone() == (1000,)

    only(on_a_copy(migration(python(in_a_thread), atomic=False)))


def test_a_connection_of_the_migrations_own(source: str) -> None:
    """To the clone it may write, as for real; to the source it can't."""

    def connects() -> None:
        with connected_to(connection.settings_dict["NAME"]) as copy:
            copy.execute(WRITES)
        with connected_to(source) as plain, pytest.raises(psycopg.errors.ReadOnlySqlTransaction):
            plain.execute(WRITES)

    only(on_a_copy(migration(python(connects), atomic=False)))


def test_a_connection_of_psycopg2(source: str) -> None:
    """The same, though it is psycopg2 that connects."""

    def connects() -> None:
        writes_by_psycopg2(connection.settings_dict["NAME"])
        with pytest.raises(psycopg2.errors.ReadOnlySqlTransaction):
            writes_by_psycopg2(source)

    only(on_a_copy(migration(python(connects), atomic=False)))


def writes_by_psycopg2(database: str) -> None:
    address = {**parameters(), "dbname": database}
    given = {key: address[key] for key in ("host", "port", "user", "dbname") if key in address}
    with closing(psycopg2.connect(**given)) as conn, conn:
        conn.cursor().execute(WRITES)


# Hooks.


class Counts(Hook):
    """Says what it saw."""

    phase = HookPhase.AFTER_DDL
    seen: ClassVar[list[bool]] = []

    def execute(self, conn: Any, context: Any) -> HookResult:
        result = conn.execute(WRITES)
        self.seen.append(context.dry_run)
        return HookResult(phase="x", hook_name="Counts", rows_affected=result.rowcount)


@pytest.mark.parametrize("atomic", [True, False])
def test_hooks_of_all_phases_know_that_it_is_a_dry_run(settings: Settings, atomic: bool) -> None:
    path = f"{__name__}.Counts"
    phases = ["BEFORE_VALIDATION", "BEFORE_DDL", "AFTER_DDL", "AFTER_VALIDATION", "CLEANUP"]
    settings.CONFITURE = {
        "HOOKS": {"counts": path},
        "PHASES": {phase: ["counts"] for phase in phases},
    }
    Counts.seen.clear()
    result = only(on_a_copy(migration(runs("SELECT 1"), atomic=atomic)))

    assert [(hook.phase, hook.rows_affected, hook.outcome) for hook in result.hooks] == [
        (phase, 1000, "completed") for phase in phases
    ]
    assert Counts.seen == [True] * len(phases)


# What is not in the clone.


@pytest.mark.parametrize(
    ("statement", "what"),
    [
        ("CREATE ROLE dry_beyond", "pg_authid"),
        ("DO $$ BEGIN CREATE ROLE dry_beyond; END $$", "pg_authid"),
        ("ALTER DATABASE {source} SET work_mem = '1MB'", "pg_db_role_setting"),
        ("GRANT CONNECT ON DATABASE {source} TO pg_monitor", "pg_database"),
        ("COMMENT ON DATABASE {source} IS 'x'", "pg_shdescription"),
    ],
)
@pytest.mark.parametrize("atomic", [True, False])
def test_what_belongs_to_the_whole_server_is_not_committed(
    source: str, statement: str, what: str, atomic: bool
) -> None:
    with pytest.raises(DryRunRefused, match=rf"not in the clone .*\({what}\).*without --clone"):
        refused(on_a_copy(migration(runs(statement.format(source=source)), atomic=atomic)))

    with connected_to("postgres") as plain:
        roles = plain.execute("SELECT FROM pg_roles WHERE rolname = 'dry_beyond'").fetchall()
    assert roles == []


def refused(report: Report) -> None:
    """Raise what ended the migration, as the command does."""
    (result,) = report.migrations
    assert result.error is not None
    assert result.error.type == "DryRunRefused"
    raise DryRunRefused(result.error.message)


def test_a_statement_of_the_server_is_not_sent() -> None:
    report = on_a_copy(migration(runs("CREATE DATABASE dry_beyond"), atomic=False))

    (operation,) = only(report).operations
    assert operation.rehearsed == "not_rehearsed"
    assert operation.reason == "CREATE would change the server, not the clone."


def test_a_transaction_that_was_left_prepared_does_not_keep_the_copy() -> None:
    with connected_to("postgres") as plain:
        (allowed,) = plain.execute("SHOW max_prepared_transactions").fetchone() or ("0",)
    if allowed == "0":
        pytest.skip("max_prepared_transactions is 0")
    prepares = [executes(s) for s in ("BEGIN", WRITES, "PREPARE TRANSACTION 'dry'")]
    assert on_a_copy(migration(*prepares, atomic=False)).rolled_back


def test_settings_of_the_database_hold_in_the_copy(source: str) -> None:
    with connected_to("postgres") as plain:
        for setting in ("search_path = dry, public", "work_mem = '7MB'"):
            plain.execute(
                sql.SQL("ALTER DATABASE {} SET " + setting).format(sql.Identifier(source))
            )
    seen: list[Any] = []

    def shows() -> None:
        with connection.cursor() as cursor:
            cursor.execute("SELECT current_setting('search_path'), current_setting('work_mem')")
            seen.append(cursor.fetchone())

    only(on_a_copy(migration(python(shows))))

    assert seen == [("dry, public", "7MB")]


# Who is in the way.


def test_a_database_in_use(source: str) -> None:
    with connected_to(source, application_name="psql of Ada") as plain:
        with pytest.raises(DryRunRefused) as raised:
            on_a_copy(migration(runs(WRITES)))
        pid = plain.info.backend_pid
        assert plain.execute("SELECT 1").fetchone() == (1,)

    who = rf"{source} has 1 other session: {pid} \(psql of Ada, for \d+ s\)\."
    assert re.search(who, str(raised.value))


@pytest.fixture
def role(source: str) -> Iterator[str]:
    """A role that may log in, and no more."""
    with connected_to("postgres") as plain:
        plain.execute("DROP ROLE IF EXISTS dry_clone")
        plain.execute("CREATE ROLE dry_clone LOGIN PASSWORD 'x'")
    with alias_at("default", USER="dry_clone", PASSWORD="x"):
        yield "dry_clone"
    with connected_to(source) as plain:
        plain.execute(
            sql.SQL("ALTER DATABASE {} OWNER TO CURRENT_USER").format(sql.Identifier(source))
        )
        plain.execute("DROP OWNED BY dry_clone")
    with connected_to("postgres") as plain:
        plain.execute("DROP OWNED BY dry_clone; DROP ROLE dry_clone")


def test_a_role_that_may_not_create_databases(role: str) -> None:
    with pytest.raises(DryRunRefused, match=r"dry_clone may not create databases, .*CREATEDB"):
        on_a_copy(migration(runs(WRITES)))


def test_a_role_that_may_not_copy_this_one(role: str) -> None:
    with connected_to("postgres") as plain:
        plain.execute("ALTER ROLE dry_clone CREATEDB")

    with pytest.raises(DryRunRefused, match=r"dry_clone may not copy the database .*GRANT"):
        on_a_copy(migration(runs(WRITES)))


def test_the_owner_with_createdb_needs_no_more(source: str, role: str) -> None:
    with connected_to("postgres") as plain:
        plain.execute("ALTER ROLE dry_clone CREATEDB")
        plain.execute(
            sql.SQL("ALTER DATABASE {} OWNER TO dry_clone").format(sql.Identifier(source))
        )
        plain.execute(
            sql.SQL("ALTER ROLE dry_clone IN DATABASE {} SET work_mem = '6MB'").format(
                sql.Identifier(source)
            )
        )
    with connected_to(source) as plain:
        plain.execute("GRANT ALL ON ALL TABLES IN SCHEMA public TO dry_clone")
        plain.execute("GRANT ALL ON ALL SEQUENCES IN SCHEMA public TO dry_clone")
    report = on_a_copy(migration(executes("CREATE TABLE dry_new (id integer)")))

    only(report)
    assert report.rolled_back
    assert report.warnings == ()


def test_a_template(source: str) -> None:
    name = sql.Identifier(source)
    with connected_to("postgres") as plain:
        plain.execute(sql.SQL("ALTER DATABASE {} IS_TEMPLATE true").format(name))
        try:
            with pytest.raises(DryRunRefused, match="is a template"):
                on_a_copy(migration(runs(WRITES)))
        finally:
            plain.execute(sql.SQL("ALTER DATABASE {} IS_TEMPLATE false").format(name))


def test_a_disk_that_is_too_small(source: str) -> None:
    with connected_to(source) as plain:
        known = replace(Source.of("default", plain), size=10**18)
        with pytest.raises(
            DryRunRefused, match=r"A clone of .* needs 909494\.7 TB, and .*disk has .* free"
        ):
            check_space(plain, known)


def test_an_alias_that_does_not_reach_the_copy() -> None:
    with (
        pytest.raises(DryRunRefused, match=r"The alias 'default' does not reach the clone: .*nope"),
        pointed([connections["default"]], connections["default"], "nope"),
    ):
        pass


def test_an_interrupt_waits_until_the_copy_is_dropped() -> None:
    steps: list[str] = []

    def interrupted() -> None:
        with _uninterrupted():
            signal.raise_signal(signal.SIGINT)
            steps.append("dropped")
        steps.append("never")

    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a job of a shell ignores it
    try:
        with pytest.raises(KeyboardInterrupt):
            interrupted()
    finally:
        signal.signal(signal.SIGINT, before)
    assert steps == ["dropped"]


def test_inside_a_transaction() -> None:
    with transaction.atomic(), pytest.raises(DryRunRefused, match="in a transaction"):
        on_a_copy(migration(runs(WRITES)))


# Names, and what was left behind.


def test_a_name_that_is_too_long_is_cut_between_two_letters() -> None:
    long = "ü" * 31
    assert len(new_name(long).encode()) <= 63
    assert new_name(long).endswith("ü")
    create(long, "CREATE TABLE dry_row (id integer, number integer)")
    try:
        with alias_at("default", NAME=long):
            only(on_a_copy(migration(runs(WRITES))))
    finally:
        drop(long)


def leave(name: str, limit: int) -> None:
    with connected_to("postgres") as plain:
        plain.execute(
            sql.SQL("CREATE DATABASE {} CONNECTION LIMIT {}").format(
                sql.Identifier(name), sql.Literal(limit)
            )
        )


def test_what_a_killed_run_left_is_dropped_and_named() -> None:
    name = new_name("shop")
    leave(name, connection_limit(name))

    report = on_a_copy(migration(runs(WRITES)))

    assert report.warnings == (f"Dropped {name}, a clone that an earlier run left behind.",)
    assert clones() == []


def test_a_drop_that_was_interrupted_is_finished() -> None:
    """The server marks such a database as invalid: no one can connect to it any more."""
    name = new_name("shop")
    leave(name, -1)
    with connected_to("postgres") as plain:
        plain.execute("UPDATE pg_database SET datconnlimit = -2 WHERE datname = %s", [name])

    (warning,) = on_a_copy(migration(runs(WRITES))).warnings

    assert warning.startswith(f"Dropped {name}")


def test_a_database_that_only_has_such_a_name_is_left_alone() -> None:
    theirs = [new_name("shop"), "confiture_clone_of_mine"]
    try:
        leave(theirs[0], -1)
        leave(theirs[1], connection_limit(theirs[1]))
        report = on_a_copy(migration(runs(WRITES)))
        assert sorted(clones()) == sorted(theirs)
    finally:
        for name in theirs:
            drop(name)
    assert report.warnings == ()


def test_a_copy_that_a_session_is_connected_to_is_left_alone() -> None:
    name = new_name("shop")
    leave(name, connection_limit(name))
    try:
        with connected_to(name):
            report = on_a_copy(migration(runs(WRITES)))
        assert clones() == [name]
    finally:
        drop(name)
    (warning,) = report.warnings
    assert warning == f"Left {name}, a clone of an earlier run, in use by 1 session."


def test_a_copy_whose_run_is_alive_is_left_alone() -> None:
    name = new_name("shop")
    leave(name, connection_limit(name))
    try:
        with connected_to("template1") as alive:
            alive.execute("SELECT pg_advisory_lock(%s)", [lock_key(name)])
            report = on_a_copy(migration(runs(WRITES)))
        assert clones() == [name]
    finally:
        drop(name)
    assert report.warnings == ()


def test_what_the_server_does_not_count_is_not_exact() -> None:
    script = "SET track_counts = off; UPDATE dry_row SET number = 1; SET track_counts = on"

    (operation,) = only(on_a_copy(migration(runs(script)))).operations

    assert operation.rehearsed == "not_rehearsed"
    assert operation.reason.startswith("track_counts was switched off")
