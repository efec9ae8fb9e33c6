"""``--clone``: the same report from a throw-away copy, where nothing is exchanged."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import pytest
from django.db import DatabaseError, connection, transaction

from django_confiture.dry_run.results import Coverage, MigrationResult, Report, StatementResult
from tests.support.clone import both_ways, connected_to, on_a_copy, only, source
from tests.support.dry_run import executes, migration, python, runs, table

__all__ = ["source"]

pytestmark = pytest.mark.usefixtures("source")


def shape(result: MigrationResult) -> Any:
    """Return what two reports of the same migration share, times and WAL left out."""
    statements = [
        (s.sql, s.executions, s.rows_affected, s.locks, s.rewrites, s.scans, s.writes,
         s.indexes_built, s.constraints)
        for operation in result.operations
        for s in operation.statements
    ]  # fmt: skip
    tables = [
        (t.relation, t.strongest_lock, bool(t.reads_blocked_ms), bool(t.writes_blocked_ms),
         t.rewritten, t.rows_scanned, t.rows_written, bool(t.row_locks))
        for t in sorted(result.tables, key=lambda t: t.relation)
    ]  # fmt: skip
    findings = sorted((f.id, f.relation, f.operation) for f in result.findings)
    return result.outcome, statements, tables, findings, result.schema_changes


PLAIN = {
    "nullable column": runs("ALTER TABLE dry_row ADD COLUMN more integer"),
    "volatile default": runs("ALTER TABLE dry_row ADD COLUMN more uuid DEFAULT gen_random_uuid()"),
    "not null": runs("ALTER TABLE dry_row ALTER number SET NOT NULL"),
    "foreign key": runs("ALTER TABLE dry_row ADD FOREIGN KEY (number) REFERENCES dry_row"),
    "index": runs("CREATE INDEX dry_row_number ON dry_row (number)"),
    "type": runs("ALTER TABLE dry_row ALTER number TYPE bigint"),
    "update": runs("UPDATE dry_row SET name = name || 'x' WHERE id <= 10"),
    "delete": runs("DELETE FROM dry_parent WHERE id = 1"),
    "truncate": runs("TRUNCATE dry_child"),
    "drop": runs("DROP TABLE dry_child"),
    "script": runs("LOCK TABLE dry_row; UPDATE dry_row SET number = 1; SELECT 1"),
    "do": runs("DO $$ BEGIN UPDATE dry_row SET number = 1; END $$"),
    "select": executes("SELECT count(*) FROM dry_row"),
    "many": python(
        lambda: [
            connection.cursor().execute("UPDATE dry_row SET number = 1 WHERE id = %s", [i])
            for i in range(1, 8)
        ]
    ),
}


@pytest.mark.parametrize("name", PLAIN)
@pytest.mark.parametrize("atomic", [True, False], ids=["atomic", "not atomic"])
def test_the_report_is_that_of_the_rollback(name: str, atomic: bool) -> None:
    rolled_back, copied = both_ways(migration(PLAIN[name], atomic=atomic))

    assert shape(copied.migrations[0]) == shape(rolled_back.migrations[0])
    assert copied.coverage == rolled_back.coverage


@pytest.mark.parametrize("atomic", [True, False], ids=["atomic", "not atomic"])
def test_many_texts_that_differ_in_constants_alone(atomic: bool) -> None:
    def body() -> None:
        with connection.cursor() as cursor:
            for i in range(2, 41):
                cursor.execute(f"UPDATE dry_row SET number = {i} WHERE id = {i}")

    found = only(on_a_copy(migration(python(body), atomic=atomic))).operations[0].statements

    assert [each.executions for each in found] == [*[1] * 20, 19]
    assert [each.rows_affected for each in found] == [*[1] * 20, 19]
    assert [sum(write.updated for write in each.writes) for each in found] == [*[1] * 20, 19]


def test_what_the_report_says_of_the_copy(source: str) -> None:
    report: Report = on_a_copy(migration(PLAIN["update"]))

    assert report.mode == "clone"
    assert report.rolled_back
    assert report.database.name == source
    assert report.clone is not None
    assert report.clone.name.startswith("confiture_clone_")
    assert report.clone.duration_ms > 0
    assert report.sequences_moved == ()
    assert report.dead_bytes == 0


def test_an_index_built_concurrently() -> None:
    index = runs("CREATE INDEX CONCURRENTLY dry_number ON dry_row (number)")
    report = on_a_copy(migration(index, atomic=False))

    operation = only(report).operations[0]
    (statement,) = operation.statements
    assert operation.rehearsed == "exact"
    (lock,) = statement.locks
    assert (lock.relation, lock.mode, lock.inherited) == (
        "dry_row",
        "ShareUpdateExclusiveLock",
        False,
    )
    assert statement.indexes_built == ("dry_number",)
    assert [(scan.relation, scan.rows) for scan in statement.scans] == [("dry_row", 2000)]
    assert table(only(report), "dry_row").writes_blocked_ms == 0


# What only a clone can show.

VACUUMS = runs("VACUUM dry_row")
INDEX = "CREATE UNIQUE INDEX CONCURRENTLY dry_unique ON dry_row (code)"


def statement_of(report: Report) -> StatementResult:
    (statement,) = only(report).operations[0].statements
    return statement


def test_what_commits_after_each_partition() -> None:
    parts = runs(
        "CREATE TABLE dry_whole (id int) PARTITION BY RANGE (id);"
        "CREATE TABLE dry_part PARTITION OF dry_whole FOR VALUES FROM (1) TO (9);"
        "CREATE INDEX dry_i ON dry_whole (id)"
    )
    rebuilds = [runs("REINDEX TABLE dry_whole"), runs("REINDEX INDEX dry_i")]

    (result,) = on_a_copy(migration(parts, *rebuilds, atomic=False)).migrations

    assert result.error is None
    assert [each.rehearsed for each in result.operations] == ["exact"] * 3


def test_a_database_is_not_moved() -> None:
    name = connection.ops.quote_name(connection.settings_dict["NAME"])
    moves = runs(f"ALTER DATABASE {name} SET TABLESPACE pg_default")

    (result,) = on_a_copy(migration(moves, atomic=False)).migrations

    assert result.operations[0].reason == "ALTER would change the server, not the clone."


def test_vacuum_is_run() -> None:
    report = on_a_copy(migration(VACUUMS, atomic=False))

    assert report.coverage == Coverage(1, 0, 0, 0)
    assert [lock.mode for lock in statement_of(report).locks] == ["ShareUpdateExclusiveLock"]


def test_vacuum_full_rewrites_and_blocks() -> None:
    report = on_a_copy(migration(runs("VACUUM FULL dry_row"), atomic=False))

    assert statement_of(report).rewrites == ("dry_row",)
    assert table(only(report), "dry_row").reads_blocked_ms > 0


def test_an_enum_value_is_used_by_the_next_migration() -> None:
    with connected_to(connection.settings_dict["NAME"]) as plain:
        plain.execute("CREATE TYPE dry_mood AS ENUM ('sad'); CREATE TABLE dry_moods (m dry_mood)")
    report = on_a_copy(
        migration(runs("ALTER TYPE dry_mood ADD VALUE 'glad'"), name="0001_value"),
        migration(runs("INSERT INTO dry_moods VALUES ('glad')"), name="0002_use"),
    )
    with connected_to(connection.settings_dict["NAME"]) as plain:
        plain.execute("DROP TABLE dry_moods; DROP TYPE dry_mood")

    assert report.outcome == "passed"
    assert report.coverage == Coverage(2, 0, 0, 0)


def test_a_procedure_that_commits() -> None:
    report = on_a_copy(migration(runs("CALL dry_commits()"), atomic=False))

    statement = statement_of(report)
    assert report.coverage == Coverage(1, 0, 0, 0)
    assert [(w.relation, w.updated) for w in statement.writes] == [("dry_row", 1000)]
    assert "commits by itself" in " ".join(only(report).warnings)


def test_a_procedure_that_does_not_commit_is_looked_into() -> None:
    with connected_to(connection.settings_dict["NAME"]) as plain:
        plain.execute(
            "CREATE PROCEDURE dry_quiet() LANGUAGE plpgsql AS"
            " $$ BEGIN UPDATE dry_row SET number = 1 WHERE id = 1; END $$"
        )
    report = on_a_copy(migration(runs("CALL dry_quiet()"), atomic=False))
    with connected_to(connection.settings_dict["NAME"]) as plain:
        plain.execute("DROP PROCEDURE dry_quiet()")

    assert [(lock.relation, lock.mode) for lock in statement_of(report).locks] == [
        ("dry_row", "RowExclusiveLock")
    ]
    assert only(report).warnings == ()


def test_locks_are_free_after_each_commit() -> None:
    """In one transaction the second lock would be inherited; here it is granted again."""
    add = runs("ALTER TABLE dry_row ADD COLUMN more integer")
    drop = runs("ALTER TABLE dry_row DROP COLUMN more")
    rolled_back, copied = both_ways(migration(add), migration(drop, name="0002_drop"))

    def inherited(report: Report) -> list[bool]:
        statements = [m.operations[0].statements[0] for m in report.migrations]
        return [lock.inherited for statement in statements for lock in statement.locks]

    assert inherited(rolled_back) == [False, True]
    assert inherited(copied) == [False, False]


def test_statements_of_a_migration_that_is_not_atomic_lock_one_by_one() -> None:
    operations = [
        runs("ALTER TABLE dry_row ADD COLUMN more integer"),
        executes("SELECT pg_sleep(0.2)"),
        runs("ALTER TABLE dry_row DROP COLUMN more"),
    ]
    blocked = [
        table(report.migrations[0], "dry_row").reads_blocked_ms
        for atomic in (True, False)
        for report in [on_a_copy(migration(*operations, atomic=atomic))]
    ]

    assert blocked[0] > 200 > blocked[1] > 0


def test_batches_in_autocommit_are_all_counted() -> None:
    def batches() -> None:
        with connection.cursor() as cursor:
            for start in range(0, 1000, 50):
                cursor.execute(
                    "UPDATE dry_row SET number = 0 WHERE id > %s AND id <= %s", [start, start + 50]
                )

    report = on_a_copy(migration(python(batches), atomic=False))

    statement = statement_of(report)
    assert (statement.executions, statement.rows_affected) == (20, 1000)
    assert sum(write.updated for write in statement.writes) == 1000


def test_swallowed_errors_leave_what_was_committed() -> None:
    def swallows() -> None:
        with connection.cursor() as cursor:
            cursor.execute("UPDATE dry_row SET number = 0 WHERE id = 1")
            for statement in ("SELECT 1 / 0", "INSERT INTO dry_row VALUES (1, 'twice')"):
                with suppress(DatabaseError):
                    cursor.execute(statement)
            cursor.execute("SELECT number FROM dry_row WHERE id = 1")
            assert cursor.fetchone() == (0,)

    report = on_a_copy(migration(python(swallows), atomic=False))

    assert report.outcome == "passed", report.migrations[0].error


def test_a_transaction_of_the_drivers_and_one_in_sql() -> None:
    def transactions() -> None:
        with connection.cursor() as cursor:
            with connection.connection.transaction():
                cursor.execute("UPDATE dry_row SET number = 0 WHERE id <= 10")
                cursor.execute("SELECT count(*) FROM dry_child")
            cursor.execute("BEGIN")
            cursor.execute("DELETE FROM dry_child WHERE id <= 5")
            cursor.execute("COMMIT")
            cursor.execute("BEGIN; DELETE FROM dry_child WHERE id <= 7; ROLLBACK")
            cursor.execute("SELECT count(*) FROM dry_child")
            assert cursor.fetchone() == (95,)

    result = only(on_a_copy(migration(python(transactions), atomic=False)))

    assert result.operations[0].rehearsed == "exact"
    assert table(result, "dry_row").rows_written == 10
    assert table(result, "dry_child").rows_written == 7
    assert table(result, "dry_child").rows_scanned == 100 + 100 + 95 + 95


def test_a_script_that_commits_in_the_middle() -> None:
    script = runs("UPDATE dry_row SET number = 0; COMMIT; UPDATE dry_row SET number = 1 WHERE id=1")
    result = only(on_a_copy(migration(script)))

    assert result.operations[0].rehearsed == "exact"
    assert table(result, "dry_row").rows_written == 1001


def test_autocommit_off() -> None:
    def manual() -> None:
        transaction.set_autocommit(False)
        with connection.cursor() as cursor:
            cursor.execute("UPDATE dry_row SET number = 0 WHERE id <= 3")
            transaction.commit()
            cursor.execute("UPDATE dry_row SET number = 1")
            transaction.rollback()
        transaction.set_autocommit(True)
        with connection.cursor() as cursor:
            cursor.execute("SELECT count(*) FROM dry_row WHERE number = 0")
            assert cursor.fetchone() == (3,)

    result = only(on_a_copy(migration(python(manual), atomic=False)))

    assert table(result, "dry_row").rows_written == 1003


def test_callbacks_are_counted_and_not_called() -> None:
    called: list[int] = []

    def asks() -> None:
        transaction.on_commit(lambda: called.append(1))
        with transaction.atomic():
            transaction.on_commit(lambda: called.append(2))

    for atomic in (True, False):
        (warning,) = only(on_a_copy(migration(python(asks), atomic=atomic))).warnings
        assert warning == "A real migration would also call 2 on_commit callbacks."
    assert called == []


# Failures.


def test_rows_that_stand_in_the_way() -> None:
    statement = "ALTER TABLE dry_row ADD CHECK (id > 10)"
    for atomic in (True, False):
        (result,) = on_a_copy(migration(runs(statement), atomic=atomic)).migrations
        assert result.outcome == "failed"
        assert result.error is not None
        assert result.error.type == "CheckViolation"
        assert result.error.statement == statement
        assert result.error.violations is not None
        assert result.error.violations.count == 10


def test_rows_that_stand_in_the_way_of_a_commit() -> None:
    insert = runs("INSERT INTO dry_child VALUES (1000, 99), (1001, 98)")
    for atomic, statement in ((True, "COMMIT"), (False, "INSERT INTO dry_child")):
        (result,) = on_a_copy(migration(insert, atomic=atomic)).migrations
        assert result.error is not None
        assert result.error.type == "ForeignKeyViolation"
        assert (result.error.statement or "").startswith(statement)
        assert result.error.violations is None or result.error.violations.count == 2


AT_THE_COMMIT = """
CREATE TABLE dry_late (number integer);
INSERT INTO dry_late VALUES (1);
CREATE FUNCTION dry_late() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN {} RETURN NULL; END $$;
CREATE CONSTRAINT TRIGGER dry_late AFTER UPDATE ON dry_late DEFERRABLE INITIALLY DEFERRED
  FOR EACH ROW EXECUTE FUNCTION dry_late()
"""
UPDATE_LATE = "UPDATE dry_late SET number = 2"


@contextmanager
def at_the_commit(source: str, code: str) -> Iterator[None]:
    """Run code once a transaction that has updated "dry_late" commits."""
    with connected_to(source) as plain:
        plain.execute(AT_THE_COMMIT.format(code))
    try:
        yield
    finally:
        with connected_to(source) as plain:
            plain.execute("DROP TABLE dry_late; DROP FUNCTION dry_late")


@pytest.mark.parametrize(
    ("script", "atomic"),
    [
        (UPDATE_LATE, True),
        (UPDATE_LATE, False),
        (f"{UPDATE_LATE}; SELECT 1", False),
        (f"BEGIN; {UPDATE_LATE}; COMMIT", False),
    ],
    ids=["atomic", "alone", "script", "BEGIN"],
)
def test_a_session_that_ends_at_the_commit(source: str, script: str, atomic: bool) -> None:
    with at_the_commit(source, "EXECUTE 'SELECT pg_termi' || 'nate_backend(pg_backend_pid())';"):
        report = on_a_copy(migration(runs(script), atomic=atomic))

    (result,) = report.migrations
    assert result.error is not None
    assert "the connection" in result.error.message.lower()
    assert (result.outcome, report.verdict) == ("not_run", "stopped")


def test_a_commit_that_fails_by_itself(source: str) -> None:
    """What the check before the COMMIT has not met with."""
    later = (
        "IF NEW.number = 3 THEN RAISE check_violation USING MESSAGE = 'at the commit'; END IF;"
        " SET CONSTRAINTS ALL DEFERRED; UPDATE dry_late SET number = 3;"
    )
    with at_the_commit(source, later):
        (result,) = on_a_copy(migration(runs(UPDATE_LATE), atomic=False)).migrations

    assert result.outcome == "failed"
    assert result.error is not None
    assert (result.error.type, result.error.statement) == ("CheckViolation", UPDATE_LATE)


def test_an_index_that_fails_stays_behind_invalid() -> None:
    (result,) = on_a_copy(migration(runs(INDEX), atomic=False)).migrations

    assert result.outcome == "failed"
    assert result.error is not None
    assert result.error.violations is not None
    assert result.error.violations.count == 1000
    (warning,) = result.warnings
    assert warning.startswith("CREATE left the invalid index dry_unique behind")


def test_what_runs_after_a_failure_is_not_run() -> None:
    report = on_a_copy(
        migration(runs("SELECT 1 / 0")), migration(runs("SELECT 1"), name="0002_next")
    )

    assert [each.outcome for each in report.migrations] == ["failed", "not_run"]
    assert report.rolled_back


def test_concurrently_in_an_atomic_migration_fails_as_it_does() -> None:
    (result,) = on_a_copy(migration(runs(INDEX))).migrations

    assert result.error is not None
    assert "cannot run inside a transaction block" in result.error.message


def test_a_lock_that_needs_a_transaction_fails_as_it_does() -> None:
    (result,) = on_a_copy(migration(runs("LOCK TABLE dry_row"), atomic=False)).migrations

    assert result.error is not None
    assert "LOCK TABLE can only be used in transaction blocks" in result.error.message


@pytest.mark.parametrize("atomic", [True, False], ids=["atomic", "not atomic"])
def test_every_way_to_send_a_statement(atomic: bool) -> None:
    def sends() -> None:
        raw = connection.connection
        with connection.cursor() as cursor:
            cursor.executemany("UPDATE dry_row SET number = %s WHERE id = %s", [(1, 1), (2, 2)])
        with raw.cursor() as cursor:
            with cursor.copy("COPY dry_parent (id, name) FROM STDIN") as copy:
                copy.write_row((100, "x"))
            assert len(list(cursor.stream("SELECT id FROM dry_child"))) == 100
        with raw.cursor(name="named", withhold=True) as named:
            named.execute("SELECT id FROM dry_child")
            assert len(named.fetchall()) == 100
        with raw.pipeline():
            raw.execute("UPDATE dry_child SET parent_id = 1 WHERE id = 1")
        with connection.cursor() as cursor:
            cursor.execute("SELECT parent_id FROM dry_child WHERE id = 1")
            assert cursor.fetchone() == (1,)

    result = only(on_a_copy(migration(python(sends), atomic=atomic)))

    assert table(result, "dry_row").rows_written == 2
    assert table(result, "dry_parent").rows_written == 1
    assert table(result, "dry_child").rows_scanned is not None
