"""What no transaction holds, or only the outer one: for real, naively, rehearsed."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import closing, contextmanager
from functools import partial
from time import perf_counter
from typing import Any

import psycopg
import pytest
from django.contrib.auth.models import Group
from django.db import connection, connections, models, transaction
from django.db.migrations import CreateModel
from django.db.migrations.operations.base import Operation
from psycopg import sql

from django_confiture import Hook, HookContext, HookPhase, HookResult, RunHook
from django_confiture.dry_run.isolation import watchdog
from django_confiture.dry_run.measuring.relations import Catalog
from django_confiture.dry_run.server.side_channel import Session
from django_confiture.formatting import duration
from django_confiture.migrate.watching.activity import what_it_waits_for
from tests.cases.migrations_on_disk import query
from tests.support.dry_run import (
    failed,
    migration,
    only_operation,
    parameters,
    plain_connection,
    python,
    rehearse,
    runs,
)
from tests.support.outcomes import WAYS, naively, outcome

pytestmark = pytest.mark.usefixtures("scratch", "_no_groups")

BEYOND = "() takes effect beyond this transaction, so the statement was not sent."

each_way = pytest.mark.parametrize("way", WAYS)


@pytest.fixture
def _no_groups(both_databases: None, scratch: None) -> Iterator[None]:
    yield
    for alias in ("default", "other"):
        Group.objects.using(alias).all().delete()


def asked(question: str) -> Any:
    """Return what another session sees."""
    with plain_connection() as plain:
        row = plain.execute(question).fetchone()
    assert row is not None
    return row[0]


def execute(statement: str) -> None:
    with plain_connection() as plain:
        plain.execute(statement)


NO_AUTOVACUUM = "ALTER TABLE dry_row SET (autovacuum_enabled = off)"

# a: what COMMIT checks.


@pytest.mark.parametrize(("way", "checks"), [("real", 1), ("naive", 0), ("rehearsed", 1)])
def test_the_time_that_deferred_checks_take_is_that_of_the_commit(way: str, checks: int) -> None:
    execute(
        "CREATE SEQUENCE dry_checks OWNED BY dry_row.id;"
        "CREATE FUNCTION dry_slow() RETURNS trigger LANGUAGE plpgsql AS"
        " $$ BEGIN PERFORM pg_sleep(0.1), nextval('dry_checks'); RETURN NULL; END $$;"
        "CREATE CONSTRAINT TRIGGER slow AFTER UPDATE ON dry_row DEFERRABLE INITIALLY DEFERRED"
        " FOR EACH ROW EXECUTE FUNCTION dry_slow()"
    )
    plan = migration(runs("UPDATE dry_row SET number = 0 WHERE id = 1"))

    assert outcome(way, plan) == ""

    assert asked("SELECT count(*) FILTER (WHERE is_called) FROM dry_checks") == checks
    if way == "rehearsed":
        (result,) = rehearse(plan).migrations
        assert result.commit_ms >= 100
        assert result.operations[0].duration_ms < 100


# b: the plain form of CONCURRENTLY holds the lock that the real one avoids.


@pytest.mark.parametrize(
    ("way", "modes"), [("real", []), ("naive", None), ("rehearsed", ["ShareLock"])]
)
def test_the_lock_that_is_held_after_concurrently(way: str, modes: list[str] | None) -> None:
    seen: list[list[str]] = []

    def look() -> None:
        held = query(
            "SELECT mode FROM pg_locks WHERE pid = pg_backend_pid() AND mode ~ '^Share'"
            " AND relation = 'dry_row'::regclass"
        )
        seen.append([mode for (mode,) in held])

    concurrently = runs("CREATE INDEX CONCURRENTLY dry_i ON dry_row (number)")
    error = outcome(way, migration(concurrently, python(look), atomic=False))

    assert bool(error) is (modes is None)
    assert seen == ([] if modes is None else [modes])


def test_a_commit_in_sql_is_said_to_be_substituted() -> None:
    operation = only_operation(runs("DELETE FROM dry_child; COMMIT"))

    assert operation.rehearsed == "substituted"
    assert operation.reason == (
        "COMMIT in SQL was rehearsed with savepoints, as it would end the dry run's transaction. "
        "For real it takes effect there, and the migration is no longer atomic."
    )


def test_code_that_commits_by_itself_is_not_rehearsed() -> None:
    operation = only_operation(runs("CALL dry_commits()"), atomic=False)

    assert operation.rehearsed == "not_rehearsed"
    assert operation.reason == (
        "CALL ran code that commits by itself; only a clone of the database can show what it does."
    )


@each_way
def test_what_a_procedure_commits_is_there_for_real_alone(way: str) -> None:
    outcome(way, migration(runs("CALL dry_commits()"), atomic=False))

    leaked = asked("SELECT count(*) FROM dry_row WHERE name = 'LEAK'")
    assert leaked == (1000 if way == "real" else 0)


# e: what is left out.


def test_vacuum_is_not_rehearsed() -> None:
    operation = only_operation(runs("VACUUM dry_row"), atomic=False)

    assert operation.rehearsed == "not_rehearsed"
    assert operation.reason == "VACUUM can't run inside a transaction."
    assert [statement.note for statement in operation.statements] == ["not sent"]


def test_what_turns_out_to_need_no_transaction_is_not_rehearsed() -> None:
    execute("CREATE TABLE dry_whole (id int) PARTITION BY RANGE (id)")

    operation = only_operation(runs("REINDEX TABLE CONCURRENTLY dry_whole"), atomic=False)

    assert operation.rehearsed == "not_rehearsed"
    assert operation.reason == "REINDEX can't run inside a transaction."


def test_what_concurrently_is_refused_fails_as_it_is_written() -> None:
    sql = "DROP INDEX CONCURRENTLY dry_row_pkey CASCADE"

    result = failed(runs(sql), atomic=False)

    assert result.error is not None
    assert (result.error.type, result.error.statement) == ("FeatureNotSupported", sql)
    assert result.error.message == "DROP INDEX CONCURRENTLY does not support CASCADE"
    assert result.operations[0].rehearsed == "exact"


@pytest.mark.parametrize(
    ("sql", "why"),
    [
        ("CHECKPOINT", "CHECKPOINT makes the whole server write, so it was not sent."),
        *(
            (
                f"SELECT {call}",
                call.partition("(")[0] + BEYOND,
            )
            for call in (
                "pg_stat_reset()",
                "pg_stat_reset_single_table_counters('dry_row'::regclass)",
                "pg_stat_statements_reset()",
                "pg_logical_emit_message(false, 'a', 'b')",
                "pg_logical_slot_get_changes('a', NULL, NULL)",
                "pg_replication_slot_advance('a', '0/1')",
                "pg_switch_wal()",
                "pg_create_restore_point('a')",
                "pg_promote()",
                "pg_wal_replay_pause()",
                "pg_backup_start('a')",
                "pg_start_backup('a')",
            )
        ),
    ],
)
def test_what_no_rollback_undoes_is_not_sent(sql: str, why: str) -> None:
    operation = only_operation(runs(sql))

    assert (operation.rehearsed, operation.reason) == ("not_rehearsed", why)


def test_a_message_that_is_rolled_back_is_sent() -> None:
    operation = only_operation(runs("SELECT pg_logical_emit_message(true, 'a', 'b')"))

    assert operation.rehearsed == "exact"


@each_way
def test_what_analyze_finds(way: str) -> None:
    """How many rows there are is written where no rollback undoes it, their values are not."""
    execute(f"{NO_AUTOVACUUM}; DELETE FROM dry_row WHERE id > 10")

    assert outcome(way, migration(runs("ANALYZE dry_row"))) == ""

    assert asked("SELECT reltuples FROM pg_class WHERE relname = 'dry_row'") == 10
    bounds = "SELECT histogram_bounds::text::int[] FROM pg_stats WHERE tablename = 'dry_row'"
    assert max(asked(f"{bounds} AND attname = 'id'")) == (10 if way == "real" else 1000)


# f: what the commit sends.


@each_way
def test_notifications(way: str) -> None:
    with plain_connection() as listener:
        listener.execute("LISTEN dry_channel")

        assert outcome(way, migration(runs("NOTIFY dry_channel"))) == ""

        if way == "real":
            assert len(list(listener.notifies(timeout=5, stop_after=1))) == 1
        assert list(listener.notifies(timeout=0.2)) == []


@pytest.mark.parametrize("atomic", [True, False], ids=["atomic", "non-atomic"])
@each_way
def test_callbacks(way: str, atomic: bool) -> None:
    called = []
    plan = migration(
        python(lambda: transaction.on_commit(lambda: called.append(way))), atomic=atomic
    )

    assert outcome(way, plan) == ""

    assert called == (["real"] if way == "real" else [])
    assert connection.run_on_commit == []
    if way == "rehearsed":
        (result,) = rehearse(plan).migrations
        assert result.warnings == ("A real migration would also call 1 on_commit callback.",)
        (operation,) = result.operations
        assert operation.rehearsed == "not_rehearsed"
        assert "test_callbacks.<locals>.<lambda>.<locals>.<lambda> was not" in operation.reason


@pytest.mark.parametrize("atomic", [True, False])
@pytest.mark.parametrize("robust", [True, False])
def test_a_callback_that_may_end_migrate_is_said_to(*, robust: bool, atomic: bool) -> None:
    """Django catches what a robust one raises."""

    def code() -> None:
        transaction.on_commit(lambda: 1 / 0, robust=robust)

    plan = migration(python(code), atomic=atomic)
    (result,) = rehearse(plan).migrations
    (operation,) = result.operations

    assert ("migrate would end with its error" in operation.reason) is not robust
    assert (outcome("real", plan) == "") is robust


def test_a_callback_of_our_own_leaves_its_operation_exact() -> None:
    ours = partial(duration, 1.0)
    operation = only_operation(python(lambda: transaction.on_commit(ours)))

    assert operation.rehearsed == "exact"


# h: what a rollback leaves.

NUMBERED = "CREATE TABLE dry_numbered (id serial PRIMARY KEY, name text)"
LAST = "SELECT last_value FROM pg_sequences WHERE sequencename = 'dry_numbered_id_seq'"


SEQUENCES: Any = (
    ("statements", "real", "rolled_back"),
    [
        (["INSERT INTO dry_numbered (name) SELECT 'a' FROM dry_parent"], 10, 10),
        (["SELECT setval('dry_numbered_id_seq', 777)"], 777, 777),
        # ALTER SEQUENCE gives it a separate file, which goes with the transaction.
        (
            [
                "ALTER SEQUENCE dry_numbered_id_seq RESTART WITH 5",
                "SELECT setval('dry_numbered_id_seq', 777)",
            ],
            777,
            None,
        ),
    ],
)


@pytest.mark.parametrize(*SEQUENCES, ids=["nextval", "setval", "after ALTER SEQUENCE"])
@each_way
def test_sequences(way: str, statements: list[str], real: int, rolled_back: int | None) -> None:
    execute(NUMBERED)

    assert outcome(way, migration(*map(runs, statements))) == ""

    assert asked(LAST) == (real if way == "real" else rolled_back)


@pytest.mark.parametrize(*SEQUENCES, ids=["nextval", "setval", "after ALTER SEQUENCE"])
def test_sequences_in_the_report(statements: list[str], real: int, rolled_back: int | None) -> None:
    execute(NUMBERED)

    moved = rehearse(migration(*map(runs, statements))).sequences_moved

    found = {move.sequence: move.after for move in moved}
    assert found.get("dry_numbered_id_seq") == rolled_back


@pytest.mark.parametrize(
    ("made", "back", "moved"),
    [
        ("", "setval('dry_numbered_id_seq', 2)", True),
        ("", "setval('dry_numbered_id_seq', 1, false)", True),
        ("", "setval('dry_numbered_id_seq', 9)", False),
        ("INCREMENT -1 MINVALUE -100", "setval('dry_numbered_id_seq', 2)", True),
        ("INCREMENT -1 MINVALUE -100", "setval('dry_numbered_id_seq', -9)", False),
    ],
    ids=["back", "to its start", "ahead", "back upward", "ahead downward"],
)
def test_a_sequence_that_a_plan_sets_back_is_put_where_it_was(
    made: str, back: str, moved: bool
) -> None:
    start = -5 if made else 5
    execute(NUMBERED)
    execute(f"ALTER SEQUENCE dry_numbered_id_seq {made or 'INCREMENT 1'}")
    execute(f"SELECT setval('dry_numbered_id_seq', {start})")
    report = rehearse(migration(runs(f"SELECT {back}")))
    notes = [each for each in report.warnings if "dry_numbered_id_seq back to" in each]
    assert bool(notes) is moved
    left = "dry_numbered_id_seq" in [each.sequence for each in report.sequences_moved]
    assert left is not moved
    assert (asked(LAST) == start) is moved


def test_other_relations_that_are_locked_meanwhile_do_no_harm() -> None:
    execute(NUMBERED)
    names = "SELECT setval(format('%I', relname), 3) FROM pg_class WHERE relname ~ '^dry_.*_seq'"
    execute("SELECT setval('dry_numbered_id_seq', 5)")
    alters = "ALTER TABLE dry_numbered ALTER name TYPE varchar(9)"
    report = rehearse(migration(runs(names), runs(alters)))
    assert report.outcome == "passed"
    assert asked(LAST) == 5


def test_after_alter_sequence_others_wait_for_the_sequence() -> None:
    execute(NUMBERED)

    def insert() -> None:
        with closing(psycopg.connect(**parameters(), autocommit=True)) as other:
            other.execute("SET lock_timeout = '100ms'")
            other.execute("INSERT INTO dry_numbered (name) VALUES ('b')")

    plan = migration(runs("ALTER SEQUENCE dry_numbered_id_seq RESTART WITH 5"), python(insert))

    assert "canceling statement due to lock timeout" in naively(plan)


@each_way
def test_the_sequence_of_djangos_own_record(way: str) -> None:
    last = "SELECT last_value FROM pg_sequences WHERE sequencename = 'django_migrations_id_seq'"
    before = asked(last)

    assert outcome(way, migration(runs("SELECT 1"))) == ""

    assert asked(last) == before + 1


SIZE = "SELECT pg_total_relation_size('dry_row')"
DEAD = "SELECT n_dead_tup FROM pg_stat_user_tables WHERE relname = 'dry_row'"


DEAD_SPACE: Any = (
    ("statement", "grows"),
    [
        ("UPDATE dry_row SET name = name || 'x'", True),
        ("DELETE FROM dry_row", False),
        ("CREATE INDEX dry_i ON dry_row (name)", False),
        ("ALTER TABLE dry_row ALTER number TYPE bigint", False),
    ],
)


@pytest.mark.parametrize(*DEAD_SPACE)
def test_dead_space(statement: str, grows: bool) -> None:
    execute(NO_AUTOVACUUM)
    plan = migration(runs(statement))
    before = asked(SIZE)

    report = rehearse(plan)

    assert (asked(SIZE) > 1.4 * before) is grows
    assert (report.dead_bytes > 0.4 * before) is grows


@pytest.mark.parametrize(*DEAD_SPACE)
def test_dead_space_naively(statement: str, grows: bool) -> None:
    execute(NO_AUTOVACUUM)
    before = asked(SIZE)

    assert naively(migration(runs(statement))) == ""

    assert (asked(SIZE) > 1.4 * before) is grows


@each_way
def test_autovacuum_is_told_of_dead_rows(way: str) -> None:
    """Those of a rollback are the new versions; of a commit, the old ones."""
    execute(NO_AUTOVACUUM)

    assert outcome(way, migration(runs("UPDATE dry_row SET name = name || 'x'"))) == ""
    connection.close()  # which hands its counters over

    deadline = perf_counter() + 10
    while asked(DEAD) != 1000:
        assert perf_counter() < deadline


@each_way
def test_a_rewrite_needs_the_space_twice(way: str) -> None:
    old = asked("SELECT pg_relation_filepath('dry_row')")
    meanwhile: list[tuple[Any, ...]] = []

    def look() -> None:
        meanwhile.extend(
            query(
                "SELECT (pg_stat_file(%s, true)).size > 0, pg_relation_filepath('dry_row') <> %s",
                old,
                old,
            )
        )

    rewrite = runs("ALTER TABLE dry_row ALTER number TYPE bigint")

    assert outcome(way, migration(rewrite, python(look))) == ""

    assert meanwhile == [(True, True)]
    assert (asked("SELECT pg_relation_filepath('dry_row')") == old) is (way != "real")


# i: other aliases.


@pytest.mark.parametrize(("way", "rows"), [("real", 100), ("naive", 100), ("rehearsed", 0)])
def test_rows_of_the_default_manager_in_a_run_of_another_alias(way: str, rows: int) -> None:
    def code() -> None:
        Group.objects.bulk_create(Group(name=f"group {i}") for i in range(100))

    assert outcome(way, migration(python(code)), using="other") == ""

    assert asked("SELECT count(*) FROM auth_group") == rows


@contextmanager
def mirror(lock_timeout: str) -> Iterator[None]:
    """An alias of the same database, with its own connection."""
    options = {**connections.databases["default"]["OPTIONS"]}
    options["options"] = f"-c lock_timeout={lock_timeout}"
    connections.databases["mirror"] = {**connections.databases["default"], "OPTIONS": options}
    try:
        yield
    finally:
        connections["mirror"].close()
        del connections["mirror"], connections.databases["mirror"]


@pytest.mark.parametrize(
    ("way", "error"),
    [
        ("real", ""),
        ("naive", "OperationalError: canceling statement due to lock timeout"),
        ("rehearsed", ""),
    ],
)
def test_a_second_alias_of_the_same_database(way: str, error: str) -> None:
    """It waits for the lock of an earlier migration, and PostgreSQL sees no deadlock."""

    def code() -> None:
        query("SELECT added FROM dry_row", using="mirror")

    add = migration(runs("ALTER TABLE dry_row ADD added integer"))
    read = migration(python(code), name="0002_read")
    with mirror("200ms"):
        found = outcome(way, add, read)

    assert found.startswith(error)
    assert bool(found) is bool(error)


# j: where it begins.


@pytest.fixture
def no_record(scratch: None) -> Iterator[None]:
    """Let Django find no record of what is applied."""
    execute("ALTER TABLE django_migrations RENAME TO dry_run_keeps_this")
    try:
        yield
    finally:
        connection.close()
        execute(
            "DROP TABLE IF EXISTS django_migrations;"
            "ALTER TABLE dry_run_keeps_this RENAME TO django_migrations"
        )


@each_way
def test_where_no_migration_was_ever_applied(way: str, no_record: None) -> None:
    assert outcome(way, migration(runs("SELECT 1"))) == ""

    assert asked("SELECT to_regclass('django_migrations') IS NOT NULL") is (way == "real")


HELD = "SELECT mode FROM pg_locks WHERE relation = 'dry_row'::regclass"


@each_way
def test_in_a_transaction_of_the_caller(way: str) -> None:
    add = migration(runs("ALTER TABLE dry_row ADD added integer"))
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SELECT 1")
        with transaction.atomic():
            assert ("" if way == "naive" else outcome(way, add)) == ""
            if way == "naive":
                assert outcome("real", add) == ""
                transaction.set_rollback(True)
        assert connection.in_atomic_block
        assert not connection.needs_rollback
        cursor.execute(HELD)
        assert cursor.fetchall() == ([("AccessExclusiveLock",)] if way == "real" else [])
        transaction.set_rollback(True)


def test_what_is_asked_needs_no_rights() -> None:
    name = sql.Identifier(f"dry_unknown_{os.getpid()}")
    with plain_connection() as plain:
        plain.execute(sql.SQL("CREATE ROLE {}").format(name))
        try:
            plain.execute(sql.SQL("SET ROLE {}").format(name))
            plain.execute("BEGIN")
            catalog = Catalog(Session(plain))
            assert "dry_row" in {each.shown for each in catalog.relations.values()}
            assert set(catalog.at_start().relations) == set(catalog.relations)
            assert catalog.probe(objects=None).wal > 0
            facts = {"pid": plain.info.backend_pid, "own": [], "after": 0}
            assert plain.execute(watchdog._WAITERS, facts).fetchall() == []
            assert what_it_waits_for(plain, plain.info.backend_pid) is None
        finally:
            plain.execute("ROLLBACK; RESET ROLE")
            plain.execute(sql.SQL("DROP ROLE {}").format(name))


# k: what Django leaves for the end of a migration.

KEY = ("id", models.BigAutoField(primary_key=True))
TARGET = CreateModel("Target", [KEY])
POINTER = CreateModel(
    "Pointer", [KEY, ("target", models.ForeignKey("cases.Target", models.CASCADE))]
)
CONSTRAINTS = """
    SELECT contype::text FROM pg_constraint
    WHERE conrelid = 'cases_pointer'::regclass AND contype <> 'n' ORDER BY 1
"""
seen: list[str] = []


class Looks(Hook):
    """Sees which constraints there are."""

    phase = HookPhase.AFTER_DDL

    def execute(self, conn: psycopg.Connection[Any], context: HookContext) -> HookResult:
        """Look."""
        seen.extend(kind for (kind,) in conn.execute(CONSTRAINTS).fetchall())
        return HookResult("AFTER_DDL", "Looks")


def look() -> None:
    seen.extend(kind for (kind,) in query(CONSTRAINTS))


@each_way
@pytest.mark.parametrize(
    ("operation", "constraints"),
    [(python(look), ["p"]), (RunHook(Looks), ["f", "p"])],
    ids=["RunPython", "RunHook"],
)
def test_deferred_sql_runs_before_a_hook_and_after_any_other_operation(
    way: str, operation: Operation, constraints: list[str]
) -> None:
    seen.clear()

    assert outcome(way, migration(TARGET, POINTER, operation)) == ""

    assert seen == constraints
