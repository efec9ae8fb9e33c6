"""What a statement does to tables is measured by the server: locks, rewrites, scans, writes."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any

import psycopg
import pytest
from django.db import DatabaseError, connection, models, transaction
from django.db.migrations import AddField, AlterField, CreateModel
from psycopg import ServerCursor

from django_confiture import Hook, HookContext, HookPhase, HookResult, RunHook
from django_confiture.dry_run.locks.modes import LockMode
from django_confiture.dry_run.results import (
    MigrationResult,
    Scan,
    StatementResult,
    TableLock,
    TableResult,
    Write,
)
from tests.support.dry_run import (
    executes,
    migration,
    only_operation,
    only_statement,
    passed,
    plain_connection,
    python,
    rehearse,
    runs,
    table,
)

pytestmark = pytest.mark.usefixtures("untouched")

EXCLUSIVE = "AccessExclusiveLock"
REWRITE = "ALTER TABLE dry_row ALTER number TYPE bigint"
ADD = "ALTER TABLE dry_row ADD added integer"


def locks(statement: StatementResult) -> dict[str, str]:
    """Return the strongest lock of each table."""
    found: dict[str, LockMode] = {}
    for lock in statement.locks:
        mode = LockMode[lock.mode]
        found[lock.relation] = max(mode, found.get(lock.relation, mode))
    return {relation: mode.name for relation, mode in found.items()}


# One statement.


def test_a_cursor_reads_on_while_rows_are_written() -> None:
    def code() -> None:
        raw = connection.connection
        with ServerCursor(raw, "named") as cursor:
            cursor.execute("SELECT id FROM dry_row")
            while rows := cursor.fetchmany(100):
                raw.execute("UPDATE dry_row SET number = 1 WHERE id = %s", rows[0])

    read, wrote = only_operation(python(code)).statements

    assert read.scans == (Scan("dry_row", 1000, passes=1),)
    assert (wrote.executions, wrote.scans) == (10, ())


def test_a_rewrite() -> None:
    statement = only_statement(runs(REWRITE))

    assert TableLock("dry_row", EXCLUSIVE, inherited=False) in statement.locks
    assert statement.rewrites == ("dry_row",)
    assert statement.scans == (Scan("dry_row", 2000, passes=2),)  # the second for the index
    assert statement.wal_bytes is not None
    assert statement.wal_bytes > 1000 * 8


def test_a_change_of_the_catalog_alone() -> None:
    statement = only_statement(runs(ADD))

    assert locks(statement) == {"dry_row": EXCLUSIVE}
    assert (statement.rewrites, statement.scans, statement.writes) == ((), (), ())
    assert statement.rows_affected is None


def test_not_null_scans() -> None:
    statement = only_statement(runs("ALTER TABLE dry_row ALTER number SET NOT NULL"))

    assert statement.scans == (Scan("dry_row", 1000),)
    assert statement.rewrites == ()


def test_an_index_blocks_writers_and_reads_every_row() -> None:
    statement = only_statement(runs("CREATE INDEX dry_i ON dry_row (number)"))

    assert locks(statement) == {"dry_row": "ShareLock"}
    (scan,) = statement.scans
    assert (scan.relation, scan.passes) == ("dry_row", 1)
    assert (scan.rows or 0) >= 1000  # a build counts dead rows, too, which other tests have left
    assert statement.indexes_built == ("dry_i",)


def test_a_validated_constraint() -> None:
    statement = only_statement(
        runs("ALTER TABLE dry_row ADD CONSTRAINT dry_check CHECK (number > 0)")
    )

    assert statement.constraints == ("dry_check",)
    assert statement.scans == (Scan("dry_row", 1000),)


def test_a_constraint_that_is_not_valid_reads_nothing_until_it_is_validated() -> None:
    add, validate = only_operation(
        runs(
            "ALTER TABLE dry_row ADD CONSTRAINT dry_check CHECK (number > 0) NOT VALID;"
            "ALTER TABLE dry_row VALIDATE CONSTRAINT dry_check"
        )
    ).statements

    assert (add.constraints, add.scans) == ((), ())
    assert (validate.constraints, validate.scans) == (("dry_check",), (Scan("dry_row", 1000),))


def test_a_foreign_key_locks_and_reads_both_tables() -> None:
    statement = only_statement(
        runs(
            "ALTER TABLE dry_row ADD CONSTRAINT dry_fk FOREIGN KEY (number) REFERENCES dry_row (id)"
        )
    )

    assert locks(statement)["dry_row"] == "ShareRowExclusiveLock"
    assert statement.constraints == ("dry_fk",)
    assert {scan.relation for scan in statement.scans} == {"dry_row"}


def test_rows_of_a_cascade_are_counted() -> None:
    statement = only_statement(runs("DELETE FROM dry_parent WHERE id = 1"))

    assert statement.rows_affected == 1
    assert set(statement.writes) == {Write("dry_parent", 0, 0, 1), Write("dry_child", 0, 0, 10)}


def test_what_a_block_writes_is_counted() -> None:
    statement = only_statement(
        runs("DO $$ BEGIN UPDATE dry_row SET number = 0; DELETE FROM dry_child; END $$")
    )

    assert statement.rows_affected is None
    assert set(statement.writes) == {Write("dry_row", 0, 1000, 0), Write("dry_child", 0, 0, 100)}
    assert statement.rows_written == 1100


def test_a_rewrite_in_a_block_and_a_truncate_in_one() -> None:
    rewrite = only_statement(runs(f"DO $$ BEGIN {REWRITE}; END $$"))
    truncate = only_statement(runs("DO $$ BEGIN TRUNCATE dry_row; END $$"))

    assert rewrite.rewrites == ("dry_row",)
    assert truncate.rewrites == ()
    assert locks(truncate)["dry_row"] == EXCLUSIVE


def test_what_code_locks_of_tables_that_are_locked_already_is_said_to_be_unknown() -> None:
    _, named = passed(runs(ADD), runs(f"DO $$ BEGIN {REWRITE}; END $$")).operations
    other = passed(runs(ADD), runs("DO $$ BEGIN PERFORM 1; END $$"))

    assert named.rehearsed == "not_rehearsed"
    assert "dry_row is not known" in named.reason
    assert any("dry_row is not known" in warning for warning in other.warnings)
    assert other.operations[1].rehearsed == "exact"


def test_truncate_is_no_rewrite() -> None:
    statement = only_statement(runs("TRUNCATE dry_row"))

    assert statement.rewrites == ()
    assert locks(statement) == {"dry_row": EXCLUSIVE}


@pytest.mark.parametrize("left", ["rolled back", "deleted", "deleted by the plan", "a row"])
def test_truncate_of_a_table_without_rows_loses_none_whatever_is_left_of_its_file(
    left: str,
) -> None:
    with plain_connection() as plain, suppress(psycopg.errors.DivisionByZero):
        plain.execute("CREATE TABLE dry_left (id integer)")
        if left == "rolled back":
            plain.execute("INSERT INTO dry_left VALUES (1); SELECT 1 / 0")
        plain.execute("INSERT INTO dry_left VALUES (1)")
        if left == "deleted":
            plain.execute("DELETE FROM dry_left")
    first = [runs("DELETE FROM dry_left")] if left == "deleted by the plan" else []

    try:
        result = passed(*first, runs("UPDATE dry_row SET number = 1; TRUNCATE dry_left"))
    finally:
        with plain_connection() as plain:
            plain.execute("DROP TABLE dry_left")

    assert ("truncate-loses-rows" in [each.id for each in result.findings]) is (left == "a row")
    assert (result.operations[-1].rehearsed, len(result.operations[-1].statements)) == ("exact", 2)
    assert result.operations[-1].statements[-1].scans == ()
    assert result.operations[-1].statements[0].writes == (Write("dry_row", 0, 1000, 0),)


@pytest.mark.parametrize("cause", ["locked", "forbidden"])
def test_truncate_of_a_table_that_can_not_be_read_counts_as_a_loss(cause: str) -> None:
    """As any table of which it is not known that it is empty."""
    with plain_connection() as plain, plain_connection() as other:
        plain.execute("CREATE TABLE dry_left (id integer); INSERT INTO dry_left VALUES (1)")
        plain.execute("DELETE FROM dry_left")
        before = ""
        try:
            if cause == "locked":
                other.execute("BEGIN; LOCK TABLE dry_left IN ACCESS EXCLUSIVE MODE")
            else:
                plain.execute("DROP ROLE IF EXISTS dry_emptier; CREATE ROLE dry_emptier")
                plain.execute("GRANT TRUNCATE ON dry_left TO dry_emptier")
                before = "SET LOCAL ROLE dry_emptier; "
            (result,) = rehearse(migration(runs(f"{before}TRUNCATE dry_left"))).migrations
        finally:
            other.execute("ROLLBACK")
            plain.execute("DROP TABLE dry_left; DROP ROLE IF EXISTS dry_emptier")

    if cause == "locked":
        assert result.error is not None
        assert result.error.type == "LockNotAvailable"
        assert result.error.statement == "TRUNCATE dry_left"
    else:
        assert "truncate-loses-rows" in [each.id for each in result.findings]


def test_a_new_table_of_the_dry_run_is_not_reported() -> None:
    operation = only_operation(
        runs("CREATE TABLE dry_new (id int); INSERT INTO dry_new VALUES (1); DROP TABLE dry_new")
    )

    assert [statement.locks for statement in operation.statements] == [(), (), ()]
    assert [statement.rows_affected for statement in operation.statements] == [None, 1, None]


def test_a_dropped_and_a_renamed_table_keep_their_names() -> None:
    drop = only_statement(runs("DROP TABLE dry_child"))
    rename = only_statement(runs("ALTER TABLE dry_row RENAME TO dry_other"))

    assert locks(drop)["dry_child"] == EXCLUSIVE
    assert locks(drop)["dry_parent"] == EXCLUSIVE
    assert locks(rename) == {"dry_row": EXCLUSIVE}


# Several statements and migrations.


def test_a_lock_that_an_earlier_migration_holds_is_not_lost() -> None:
    """For real it is free again; PostgreSQL does not say when it is granted a second time."""
    first, second = rehearse(migration(runs(ADD)), migration(runs(REWRITE))).migrations

    (statement,) = second.operations[0].statements
    assert TableLock("dry_row", EXCLUSIVE, inherited=True) in statement.locks
    assert table(second, "dry_row").strongest_lock == EXCLUSIVE
    assert table(second, "dry_row").reads_blocked_ms > 0
    assert table(first, "dry_row").reads_blocked_ms > 0


def test_a_weaker_lock_on_a_table_that_is_locked_already() -> None:
    _first, second = rehearse(
        migration(runs(ADD)), migration(runs("UPDATE dry_row SET added = 1"))
    ).migrations

    (statement,) = second.operations[0].statements
    assert locks(statement) == {"dry_row": "RowExclusiveLock"}
    assert table(second, "dry_row").strongest_lock == "RowExclusiveLock"
    assert table(second, "dry_row").writes_blocked_ms == 0


@pytest.mark.parametrize(
    ("sql", "mode", "blocks_reads", "blocks_writes"),
    [
        ("SELECT count(*) FROM dry_row", "AccessShareLock", False, False),
        ("UPDATE dry_row SET number = 1", "RowExclusiveLock", False, False),
        ("ALTER TABLE dry_row SET (fillfactor = 90)", "ShareUpdateExclusiveLock", False, False),
        ("CREATE INDEX ON dry_row (number)", "ShareLock", False, True),
        ("ALTER TABLE dry_row DISABLE TRIGGER ALL", "ShareRowExclusiveLock", False, True),
        ("LOCK TABLE dry_row IN EXCLUSIVE MODE", "ExclusiveLock", False, True),
        (ADD, EXCLUSIVE, True, True),
    ],
)
def test_only_blocking_modes_have_a_time(
    sql: str, mode: str, blocks_reads: bool, blocks_writes: bool
) -> None:
    found = table(passed(runs(sql), runs("SELECT pg_sleep(0.02)")), "dry_row")

    assert found.strongest_lock == mode
    assert (found.reads_blocked_ms >= 20) is blocks_reads
    assert (found.writes_blocked_ms >= 20) is blocks_writes
    assert found.blocked_by == (sql if blocks_writes else "")


@pytest.mark.parametrize(
    ("sql", "locks_rows"),
    [
        ("UPDATE dry_row SET number = 1 WHERE id < 9", True),
        ("DELETE FROM dry_child WHERE id = 1; DELETE FROM dry_row WHERE id = 1", True),
        ("DO $$ BEGIN UPDATE dry_row SET number = 1 WHERE id < 9; END $$", True),
        ("UPDATE dry_row SET number = 1 WHERE id < 0", False),
        ("INSERT INTO dry_row (id, number, name) VALUES (9999, 1, 'x')", False),
        ("SELECT * FROM dry_row", False),
    ],
)
def test_rows_are_locked_from_their_change_to_the_end(sql: str, locks_rows: bool) -> None:
    slow = runs("SELECT pg_sleep(0.1)")
    found = table(passed(slow, runs(sql), slow), "dry_row")

    assert not found.blocked
    stretches = [(each.what, each.start_ms >= 100) for each in found.row_locks]
    assert stretches == ([("rows", True)] if locks_rows else [])
    assert all(100 <= each.end_ms - each.start_ms < 200 for each in found.row_locks)


def test_row_locks_end_where_the_whole_table_is_locked() -> None:
    update, slow = runs("UPDATE dry_row SET number = 1"), runs("SELECT pg_sleep(0.1)")

    found = table(passed(update, slow, runs(ADD)), "dry_row")
    (rows,), (whole,) = found.row_locks, found.blocked
    assert rows.end_ms == whole.start_ms
    assert not table(passed(runs(ADD), update), "dry_row").row_locks


def test_a_non_atomic_migration_frees_its_rows_after_each_statement() -> None:
    update = runs("UPDATE dry_row SET number = 1")
    slow = runs("SELECT pg_sleep(0.2)")

    (stretch,) = table(passed(update, slow, atomic=False), "dry_row").row_locks
    assert stretch.end_ms - stretch.start_ms < 200


def test_when_a_hook_ran() -> None:
    result = passed(runs("SELECT pg_sleep(0.1)"), RunHook(Late), runs("SELECT pg_sleep(0.1)"))

    (hook,) = result.hooks
    assert hook.started_ms >= 190
    assert 40 <= hook.duration_ms < 190


class Late(Hook):
    """Takes its time after everything."""

    phase = HookPhase.CLEANUP

    def execute(self, conn: Any, context: HookContext) -> HookResult:
        conn.execute("SELECT pg_sleep(0.05)")
        return HookResult(phase=self.phase.name, hook_name="Late")


def test_the_time_under_lock_ends_with_the_migration() -> None:
    slow = runs("SELECT pg_sleep(0.1)")

    first, second = rehearse(migration(runs(ADD)), migration(slow)).migrations

    assert 0 < table(first, "dry_row").reads_blocked_ms < 100
    assert second.tables == ()


def test_the_time_under_lock_begins_with_the_statement_that_takes_it() -> None:
    slow = runs("SELECT pg_sleep(0.1)")

    assert table(passed(slow, runs(ADD)), "dry_row").reads_blocked_ms < 100
    assert table(passed(runs(ADD), slow), "dry_row").reads_blocked_ms >= 100


def test_a_non_atomic_migration_frees_its_locks_after_each_statement() -> None:
    result = passed(runs(ADD), runs("SELECT pg_sleep(0.1)"), atomic=False)

    assert 0 < table(result, "dry_row").reads_blocked_ms < 100


def test_a_script_of_a_non_atomic_migration_is_one_transaction() -> None:
    result = passed(runs(f"{ADD}; SELECT pg_sleep(0.1)"), atomic=False)

    assert table(result, "dry_row").reads_blocked_ms >= 100


def test_atomic_blocks_of_a_non_atomic_migration_hold_their_locks() -> None:
    def code() -> None:
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute(ADD)
            cursor.execute("SELECT pg_sleep(0.1)")
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_sleep(0.2)")

    blocked = table(passed(python(code), atomic=False), "dry_row").reads_blocked_ms

    assert 100 <= blocked < 200


def test_a_lock_that_is_rolled_back_with_a_savepoint_is_reported_all_the_same() -> None:
    def code() -> None:
        with connection.cursor() as cursor:
            cursor.execute("SAVEPOINT mine")
            cursor.execute(ADD)
            cursor.execute("ROLLBACK TO mine")

    assert table(passed(python(code)), "dry_row").strongest_lock == EXCLUSIVE


def test_the_other_alias_frees_no_locks() -> None:
    def code() -> None:
        with connection.cursor() as cursor:
            cursor.execute(ADD)
        with transaction.atomic("other"):
            pass
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_sleep(0.1)")

    assert table(passed(python(code)), "dry_row").reads_blocked_ms >= 100


def test_what_a_table_has_to_bear() -> None:
    result = passed(runs(REWRITE), runs("UPDATE dry_row SET number = 0 WHERE id <= 10"))

    found = table(result, "dry_row")
    assert found == TableResult(
        "dry_row",
        EXCLUSIVE,
        found.reads_blocked_ms,
        found.writes_blocked_ms,
        REWRITE,
        rewritten=True,
        rows_scanned=2000,
        rows_written=10,
        blocked=found.blocked,
        changed_in=1,
        waited_ms=found.waited_ms,
    )
    assert not found.waited_ms


def test_rows_of_the_migration_are_those_of_its_statements() -> None:
    result = passed(
        runs("UPDATE dry_row SET number = 1"), runs("DO $$ BEGIN DELETE FROM dry_child; END $$")
    )

    assert result.rows_affected == 1100


# CONCURRENTLY.


@pytest.mark.parametrize(
    "sql",
    [
        "CREATE INDEX CONCURRENTLY dry_i ON dry_row (number)",
        "REINDEX TABLE CONCURRENTLY dry_row",
    ],
)
def test_concurrently_is_reported_with_its_own_lock_and_said_to_be_substituted(sql: str) -> None:
    for operation in (runs(sql), executes(sql)):
        result = passed(operation, runs("SELECT pg_sleep(0.05)"), atomic=False)

        (statement,) = result.operations[0].statements
        assert statement.sql == sql
        assert locks(statement) == {"dry_row": "ShareUpdateExclusiveLock"}
        assert result.operations[0].rehearsed == "substituted"
        assert result.operations[0].reason == (
            "CONCURRENTLY can't run inside a transaction, so its plain form was measured."
        )
        assert table(result, "dry_row").writes_blocked_ms == 0


# Operations, deferred SQL, hooks.


def statements_of(result: MigrationResult, index: int) -> list[str]:
    return [statement.text for statement in result.operations[index].statements]


def test_deferred_sql_belongs_to_the_operation_that_left_it() -> None:
    id_field = ("id", models.BigAutoField(primary_key=True))
    target = CreateModel("Target", [id_field])
    pointer = CreateModel(
        "Pointer", [id_field, ("target", models.ForeignKey("cases.Target", models.CASCADE))]
    )

    result = passed(target, pointer, runs("SELECT 42"))

    assert any("FOREIGN KEY" in sql for sql in statements_of(result, 1))
    assert any("CREATE INDEX" in sql for sql in statements_of(result, 1))
    assert [sql.split(" (")[0] for sql in statements_of(result, 0)] == [
        'CREATE TABLE "cases_target"'
    ]
    assert statements_of(result, 2) == ["SELECT 42"]


class InsertsAndLooks(Hook):
    """Writes rows, and says which constraints there are."""

    phase = HookPhase.AFTER_DDL
    seen: list[Any] = []  # noqa: RUF012

    def execute(self, conn: psycopg.Connection[Any], context: HookContext) -> HookResult:
        """Insert a row."""
        found = conn.execute(
            "SELECT contype::text FROM pg_constraint WHERE conrelid = 'cases_pointer'::regclass"
            " AND contype <> 'n' ORDER BY 1"
        )
        self.seen[:] = [kind for (kind,) in found.fetchall()], context.dry_run
        rows = conn.execute("INSERT INTO dry_parent VALUES (50)").rowcount
        return HookResult("AFTER_DDL", "InsertsAndLooks", rows_affected=rows)


def test_a_hook_is_recorded_where_it_stands_and_runs_after_the_deferred_sql() -> None:
    id_field = ("id", models.BigAutoField(primary_key=True))
    result = passed(
        CreateModel("Target", [id_field]),
        CreateModel(
            "Pointer", [id_field, ("target", models.ForeignKey("cases.Target", models.CASCADE))]
        ),
        RunHook(InsertsAndLooks),
    )

    assert InsertsAndLooks.seen == [["f", "p"], True]
    (outcome,) = (*result.hooks, *(hook for op in result.operations for hook in op.hooks))
    assert (outcome.phase, outcome.rows_affected, outcome.outcome) == ("AFTER_DDL", 1, "completed")
    assert table(result, "dry_parent").rows_written == 1


def test_each_operation_has_its_own_statements_and_times() -> None:
    result = passed(runs("SELECT pg_sleep(0.05)"), runs(ADD))

    assert [op.index for op in result.operations] == [0, 1]
    assert [op.name for op in result.operations] == ["RunSQL", "RunSQL"]
    assert [op.description for op in result.operations] == ["Raw SQL operation"] * 2
    assert result.operations[0].duration_ms >= 50
    assert result.operations[1].duration_ms < 50
    assert result.duration_ms >= sum(op.duration_ms for op in result.operations)


def test_django_operations() -> None:
    model = CreateModel("Thing", [("id", models.BigAutoField(primary_key=True))])
    first, second = rehearse(
        migration(model, name="0001_thing"),
        migration(
            AddField("thing", "number", models.IntegerField(default=1)),
            AlterField("thing", "number", models.BigIntegerField(default=1)),
            name="0002_number",
        ),
    ).migrations

    assert (first.outcome, second.outcome) == ("passed", "passed")
    assert statements_of(second, 1) == [
        'ALTER TABLE "cases_thing" ALTER COLUMN "number" TYPE bigint USING "number"::bigint'
    ]


# Savepoints.

LOCK = "LOCK TABLE dry_row IN ACCESS EXCLUSIVE MODE"
SLOW = "SELECT pg_sleep(0.1)"


def in_a_block_of_django(cursor: Any) -> None:
    with suppress(ZeroDivisionError), transaction.atomic():
        cursor.execute(LOCK)
        raise ZeroDivisionError


def in_a_block_of_the_driver(cursor: Any) -> None:
    with suppress(ZeroDivisionError), connection.connection.transaction():
        cursor.execute(LOCK)
        raise ZeroDivisionError


def in_sql(cursor: Any) -> None:
    cursor.execute(f"SAVEPOINT one; SAVEPOINT two; {LOCK}; RELEASE two; ROLLBACK TO one")


def in_a_failed_statement(cursor: Any) -> None:
    with suppress(DatabaseError), transaction.atomic():
        cursor.execute("ALTER TABLE dry_row ADD CHECK (number < 0)")


ROLLED_BACK = (in_a_block_of_django, in_a_block_of_the_driver, in_sql, in_a_failed_statement)


@pytest.mark.parametrize("lock", ROLLED_BACK)
@pytest.mark.parametrize("held", [False, True], ids=["alone", "held by a migration before"])
def test_a_lock_that_a_savepoint_frees_blocks_nothing_after(
    lock: Callable[[Any], None], held: bool
) -> None:
    def code() -> None:
        with connection.cursor() as cursor:
            lock(cursor)
            cursor.execute(SLOW)

    before = [migration(runs(LOCK), name="0001_first")] if held else []
    report = rehearse(*before, migration(python(code), name="0002_second"))
    found = table(report.migrations[-1], "dry_row")

    assert found.reads_blocked_ms < 100
    assert [each.what for each in found.blocked if each.end_ms - each.start_ms >= 100] == []


def test_a_lock_from_before_the_savepoint_stays() -> None:
    def code() -> None:
        with connection.cursor() as cursor:
            cursor.execute("LOCK TABLE dry_row IN SHARE MODE")
            cursor.execute(SLOW)
            in_a_block_of_django(cursor)
            cursor.execute(SLOW)

    found = table(passed(python(code)), "dry_row")

    assert found.writes_blocked_ms >= 200
    assert found.reads_blocked_ms < 100
    assert [each.what for each in found.blocked] == ["writes", "reads", "writes"]


def test_a_savepoint_that_is_released_frees_nothing() -> None:
    def code() -> None:
        with connection.cursor() as cursor:
            with transaction.atomic(), transaction.atomic():
                cursor.execute(LOCK)
            cursor.execute(SLOW)

    assert table(passed(python(code)), "dry_row").reads_blocked_ms >= 100


def test_rows_that_a_savepoint_frees() -> None:
    def code() -> None:
        with connection.cursor() as cursor:
            with suppress(ZeroDivisionError), transaction.atomic():
                cursor.execute("UPDATE dry_row SET number = 1")
                raise ZeroDivisionError
            cursor.execute(SLOW)

    (stretch,) = table(passed(python(code)), "dry_row").row_locks
    assert stretch.end_ms - stretch.start_ms < 100


@pytest.mark.parametrize("atomic", [True, False])
def test_what_was_rolled_back_is_not_what_the_next_statement_did(atomic: bool) -> None:
    def code() -> None:
        with connection.cursor() as cursor:
            with suppress(ZeroDivisionError), transaction.atomic():
                cursor.execute(REWRITE)
                raise ZeroDivisionError
            cursor.execute("SELECT count(*) FROM dry_row")
            if atomic:  # LOCK TABLE needs a transaction
                cursor.execute(LOCK)
            cursor.execute("ALTER TABLE dry_row ADD added integer")

    rewrite, select, *lock_and_add = passed(python(code), atomic=atomic).operations[0].statements
    assert rewrite.rewrites == ("dry_row",)
    assert (select.rewrites, select.indexes_built) == ((), ())
    for each in lock_and_add:
        assert (each.rewrites, each.indexes_built, locks(each)) == ((), (), {"dry_row": EXCLUSIVE})


@pytest.mark.parametrize("works", [True, False])
def test_the_drivers_transaction_ends_like_a_real_one(
    works: bool,
) -> None:
    def code() -> None:
        with suppress(ZeroDivisionError), connection.connection.transaction():
            connection.connection.execute(LOCK)
            if not works:
                raise ZeroDivisionError
        with connection.cursor() as cursor:
            cursor.execute(SLOW)

    assert table(passed(python(code), atomic=False), "dry_row").reads_blocked_ms < 100


def test_the_drivers_transaction_checks_deferred_constraints_at_its_end() -> None:
    def code() -> None:
        raw = connection.connection
        with pytest.raises(psycopg.errors.ForeignKeyViolation), raw.transaction():
            raw.execute("UPDATE dry_child SET parent_id = -1")

    passed(python(code), atomic=False)
