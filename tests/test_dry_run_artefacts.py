"""One transaction around everything changes what migrations see: each case for real and rehearsed.

The letters are those of the list of artefacts in the design notes.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

import pytest
from django.contrib.auth.models import Group
from django.contrib.postgres.operations import (
    AddConstraintNotValid,
    AddIndexConcurrently,
    RemoveIndexConcurrently,
    ValidateConstraint,
)
from django.db import DatabaseError, connection, connections, models, transaction
from django.db.migrations import CreateModel, Migration

from tests.cases.migrations_on_disk import query
from tests.dry_run_support import (
    executes,
    for_real,
    migration,
    only_operation,
    passed,
    plain_connection,
    python,
    rehearse,
    runs,
)

Plan = list[Migration]

INSERT_CHILD = "INSERT INTO dry_child VALUES (1000, 1)"
ORPHAN = "INSERT INTO dry_child VALUES (1000, 77)"
ITS_PARENT = "INSERT INTO dry_parent VALUES (77)"
ALTER_CHILD = "ALTER TABLE dry_child ADD added integer"
NOT_INSIDE = "cannot run inside a transaction block"


def first(*operations: object, **options: bool) -> Migration:
    return migration(*operations, name="0001_first", **options)  # type: ignore[arg-type]


def second(*operations: object, **options: bool) -> Migration:
    return migration(*operations, name="0002_second", **options)  # type: ignore[arg-type]


def rows(table: str) -> int:
    count: int = query(f"SELECT count(*) FROM {table}")[0][0]
    return count


def durable() -> None:
    with transaction.atomic(durable=True):
        Group.objects.create(name="durable")


def autocommit_games() -> None:
    transaction.set_autocommit(False)
    Group.objects.create(name="committed")
    transaction.commit()
    Group.objects.create(name="rolled back")
    transaction.rollback()
    transaction.set_autocommit(True)
    assert set(Group.objects.values_list("name", flat=True)) == {"committed"}


def autocommit_off_and_orphan() -> None:
    transaction.set_autocommit(False)
    with connection.cursor() as cursor:
        cursor.execute(ORPHAN)
        cursor.execute(ITS_PARENT)
    transaction.commit()
    transaction.set_autocommit(True)


def raw_commit() -> None:
    connection.connection.execute("INSERT INTO dry_parent VALUES (77)")
    connection.connection.commit()


def swallows_errors() -> None:
    Group.objects.create(name="once")
    with suppress(DatabaseError):
        Group.objects.create(name="once")
    with suppress(DatabaseError), connection.cursor() as cursor:
        cursor.execute("SELECT 1 / 0")
    with suppress(DatabaseError), connection.cursor() as cursor:
        cursor.execute(ORPHAN)  # alone in its transaction, so it fails at once
    assert (Group.objects.count(), rows("dry_child")) == (1, 100)


def swallows_errors_in_atomic() -> None:
    with suppress(DatabaseError), transaction.atomic():
        Group.objects.create(name="undone")
        Group.objects.create(name="undone")
    Group.objects.create(name="kept")
    assert set(Group.objects.values_list("name", flat=True)) == {"kept"}


def driver_transaction() -> None:
    """Outside Django's transactions the driver begins one: the parent may come last."""
    with connection.cursor() as cursor, connection.connection.transaction():
        cursor.execute(ORPHAN)
        cursor.execute(ITS_PARENT)


def driver_transaction_rolled_back() -> None:
    raw = connection.connection
    with suppress(ZeroDivisionError), connection.cursor() as cursor, raw.transaction():
        cursor.execute("DELETE FROM dry_child")
        raise ZeroDivisionError
    assert rows("dry_child") == 100


def commits_what_failed() -> None:
    transaction.set_autocommit(False)
    with suppress(DatabaseError), connection.cursor() as cursor:
        cursor.execute("DELETE FROM dry_child")
        cursor.execute("SELECT 1 / 0")
    transaction.commit()
    transaction.set_autocommit(True)
    assert rows("dry_child") == 100


def two_statements_in_a_pipeline() -> None:
    with connection.connection.pipeline():
        connection.connection.execute("SELECT 1; SELECT 2")


def orphan_on_the_other_alias() -> None:
    with transaction.atomic("other"), connections["other"].cursor() as cursor:
        cursor.execute(ORPHAN)


def closes_the_connection() -> None:
    connection.close()
    connection.ensure_connection()
    Group.objects.create(name="after")


def named_cursor_left_open() -> None:
    connection.ensure_connection()
    with connection.cursor() as cursor:
        cursor.execute("DECLARE left_open CURSOR FOR SELECT * FROM dry_row")
        cursor.execute("FETCH 1 FROM left_open")


MODEL = CreateModel(
    "Thing",
    [
        ("id", models.BigAutoField(primary_key=True)),
        ("number", models.IntegerField(default=0)),
    ],
)
INDEX = models.Index(fields=["number"], name="cases_thing_number")
CHECK = models.CheckConstraint(condition=models.Q(number__gte=0), name="cases_thing_positive")

SAME_OUTCOME: dict[str, tuple[Callable[[], Plan], str]] = {
    "a: rows, then DDL, in two migrations": (
        lambda: [first(runs(INSERT_CHILD)), second(runs(ALTER_CHILD))],
        "",
    ),
    "a: rows, then DDL, in one": (
        lambda: [first(runs(INSERT_CHILD), runs(ALTER_CHILD))],
        "pending trigger events",
    ),
    "a: rows, then DDL, in a non-atomic one": (
        lambda: [first(runs(INSERT_CHILD), runs(ALTER_CHILD), atomic=False)],
        "",
    ),
    "a: the parent comes later in the migration": (
        lambda: [first(runs(ORPHAN), runs(ITS_PARENT))],
        "",
    ),
    "a: the parent comes in the next migration": (
        lambda: [first(runs(ORPHAN)), second(runs(ITS_PARENT))],
        "violates foreign key constraint",
    ),
    "a: the parent comes later, non-atomic": (
        lambda: [first(runs(ORPHAN), runs(ITS_PARENT), atomic=False)],
        "violates foreign key constraint",
    ),
    "a: the parent comes later in a script, non-atomic": (
        lambda: [first(runs(f"{ORPHAN}; {ITS_PARENT}"), atomic=False)],
        "",
    ),
    "b: CREATE INDEX CONCURRENTLY": (
        lambda: [first(runs("CREATE INDEX CONCURRENTLY dry_i ON dry_row (number)"), atomic=False)],
        "",
    ),
    "b: in an atomic migration": (
        lambda: [first(runs("CREATE INDEX CONCURRENTLY dry_i ON dry_row (number)"))],
        NOT_INSIDE,
    ),
    "b: in a script": (
        lambda: [
            first(
                runs("CREATE INDEX CONCURRENTLY dry_i ON dry_row (number); SELECT 1"),
                atomic=False,
            )
        ],
        NOT_INSIDE,
    ),
    "b: with parameters, from a cursor": (
        lambda: [
            first(
                executes(
                    "CREATE INDEX CONCURRENTLY dry_i ON dry_row (number) WHERE name LIKE %s",
                    ["a%"],
                ),
                atomic=False,
            )
        ],
        "",
    ),
    "b: DROP INDEX CONCURRENTLY and REINDEX": (
        lambda: [
            first(runs("CREATE INDEX dry_i ON dry_row (number)")),
            second(
                runs("REINDEX INDEX CONCURRENTLY dry_i"),
                runs("REINDEX (CONCURRENTLY, VERBOSE) TABLE dry_row"),
                runs("DROP INDEX CONCURRENTLY dry_i"),
                atomic=False,
            ),
        ],
        "",
    ),
    "b: DETACH PARTITION CONCURRENTLY": (
        lambda: [
            first(
                runs(
                    "CREATE TABLE dry_whole (id int) PARTITION BY RANGE (id);"
                    "CREATE TABLE dry_part PARTITION OF dry_whole FOR VALUES FROM (1) TO (9)"
                )
            ),
            second(
                runs("ALTER TABLE dry_whole DETACH PARTITION dry_part CONCURRENTLY"), atomic=False
            ),
        ],
        "",
    ),
    "b: Django's operations": (
        lambda: [
            first(MODEL),
            second(
                AddIndexConcurrently("thing", INDEX),
                RemoveIndexConcurrently("thing", INDEX.name),
                AddConstraintNotValid("thing", CHECK),
                ValidateConstraint("thing", CHECK.name),
                atomic=False,
            ),
        ],
        "",
    ),
    "b: Django's operation in an atomic migration": (
        lambda: [first(MODEL), second(AddIndexConcurrently("thing", INDEX))],
        "cannot be executed inside a transaction",
    ),
    "c: durable": (lambda: [first(python(durable), atomic=False)], ""),
    "c: durable in an atomic migration": (
        lambda: [first(python(durable))],
        "A durable atomic block cannot be nested",
    ),
    "c: set_autocommit": (lambda: [first(python(autocommit_games), atomic=False)], ""),
    "c: set_autocommit in an atomic migration": (
        lambda: [first(python(autocommit_games))],
        "This is forbidden when an 'atomic' block is active",
    ),
    "c: autocommit off, the parent comes last": (
        lambda: [first(python(autocommit_off_and_orphan), atomic=False)],
        "",
    ),
    "c: commit() of the driver": (lambda: [first(python(raw_commit), atomic=False)], ""),
    "c: BEGIN and COMMIT": (
        lambda: [first(runs(f"BEGIN; {ORPHAN}; {ITS_PARENT}; COMMIT"), atomic=False)],
        "",
    ),
    "c: BEGIN and COMMIT one by one": (
        lambda: [
            first(
                *(runs(each) for each in ("BEGIN", ORPHAN, ITS_PARENT, "COMMIT")),
                atomic=False,
            )
        ],
        "",
    ),
    "c: BEGIN and ROLLBACK": (
        lambda: [
            first(
                runs("BEGIN; DELETE FROM dry_child; ROLLBACK"),
                runs("SELECT 1 / (SELECT count(*) FROM dry_child)"),
                atomic=False,
            )
        ],
        "",
    ),
    "c: COMMIT in an atomic migration": (
        lambda: [first(runs(f"{ORPHAN}; COMMIT"), runs(ITS_PARENT))],
        "violates foreign key constraint",
    ),
    "c: ROLLBACK in an atomic migration": (
        lambda: [
            first(
                runs("DELETE FROM dry_child; ROLLBACK"),
                runs("SELECT 1 / (SELECT count(*) FROM dry_child)"),
            )
        ],
        "",
    ),
    "c: swallowed errors": (lambda: [first(python(swallows_errors), atomic=False)], ""),
    "c: swallowed errors of atomic blocks": (
        lambda: [first(python(swallows_errors_in_atomic))],
        "",
    ),
    "c: swallowed errors of atomic blocks, non-atomic": (
        lambda: [first(python(swallows_errors_in_atomic), atomic=False)],
        "",
    ),
    "c: a script fails in the middle, non-atomic": (
        lambda: [first(runs("DELETE FROM dry_child; SELECT 1 / 0"), atomic=False)],
        "division by zero",
    ),
    "c: the driver's transaction()": (
        lambda: [first(python(driver_transaction), atomic=False)],
        "",
    ),
    "c: the driver's transaction() in an atomic migration": (
        lambda: [first(python(driver_transaction))],
        "",
    ),
    "c: the driver's transaction() rolled back": (
        lambda: [first(python(driver_transaction_rolled_back), atomic=False)],
        "",
    ),
    "a: a constraint that is deferrable, but not deferred": (
        lambda: [
            first(
                runs(
                    "ALTER TABLE dry_child ALTER CONSTRAINT dry_child_parent_id_fkey"
                    " DEFERRABLE INITIALLY IMMEDIATE"
                )
            ),
            second(runs(ORPHAN), runs(ITS_PARENT)),
        ],
        "violates foreign key constraint",
    ),
    "c: commit() of a transaction that failed": (
        lambda: [first(python(commits_what_failed), atomic=False)],
        "",
    ),
    "c: SET LOCAL outside a transaction": (
        lambda: [
            first(
                runs("SET LOCAL statement_timeout = '100ms'"),
                runs("SELECT pg_sleep(0.2)"),
                atomic=False,
            )
        ],
        "",
    ),
    "c: two statements in a pipeline": (
        lambda: [first(python(two_statements_in_a_pipeline))],
        "cannot insert multiple commands into a prepared statement",
    ),
    "i: the parent never comes on another alias": (
        lambda: [first(python(orphan_on_the_other_alias))],
        "violates foreign key constraint",
    ),
    "c: close()": (lambda: [first(python(closes_the_connection), atomic=False)], ""),
    "c: a named cursor left open": (
        lambda: [
            first(python(named_cursor_left_open)),
            second(runs("ALTER TABLE dry_row ADD added integer")),
        ],
        "",
    ),
    "e: VACUUM": (lambda: [first(runs("VACUUM dry_row"), atomic=False)], ""),
    "e: VACUUM in an atomic migration": (lambda: [first(runs("VACUUM dry_row"))], NOT_INSIDE),
    "e: VACUUM in a script": (
        lambda: [first(runs("SELECT 1; VACUUM dry_row"), atomic=False)],
        NOT_INSIDE,
    ),
    "e: ANALYZE": (lambda: [first(runs("ANALYZE dry_row"))], ""),
    "CREATE DATABASE in an atomic migration": (
        lambda: [first(runs("CREATE DATABASE dry_never"))],
        NOT_INSIDE,
    ),
    "SET LOCAL ends with its transaction": (
        lambda: [
            first(runs("SET LOCAL statement_timeout = '500ms'")),
            second(runs("SELECT pg_sleep(0.6)")),
        ],
        "",
    ),
}


@pytest.fixture(autouse=True)
def _no_groups(scratch: None) -> None:
    Group.objects.all().delete()


@pytest.mark.parametrize(("plan", "error"), SAME_OUTCOME.values(), ids=SAME_OUTCOME)
def test_rehearsed_as_for_real(plan: Callable[[], Plan], error: str) -> None:
    rehearsed = rehearsed_error(plan())
    real = for_real(*plan())
    Group.objects.all().delete()

    agrees(real, error)  # or the case proves nothing
    agrees(rehearsed, error)


def agrees(found: str, expected: str) -> None:
    assert expected in found
    assert bool(found) is bool(expected), found


def rehearsed_error(plan: Plan) -> str:
    """Return the message of the migration that would fail, ``""`` where none would."""
    report = rehearse(*plan)
    assert report.error is None
    errors = [result.error for result in report.migrations if result.error is not None]
    return errors[0].message if errors else ""


def test_an_enum_value_used_at_once_is_an_error_in_the_dry_run_alone() -> None:
    """PostgreSQL allows it only after a real COMMIT; see --clone."""
    with plain_connection() as plain:
        plain.execute("CREATE TYPE dry_mood AS ENUM ('ok')")
        plain.execute("ALTER TABLE dry_row ADD mood dry_mood")
    plan = [
        first(runs("ALTER TYPE dry_mood ADD VALUE 'good'")),
        second(runs("UPDATE dry_row SET mood = 'good'")),
    ]

    assert 'unsafe use of new value "good" of enum type dry_mood' in rehearsed_error(plan)
    assert for_real(*plan) == ""


def test_of_masked_errors_the_first_is_reported() -> None:
    """For real one sees what came of it, which says nothing."""
    plan = [first(python(swallows_errors))]

    assert "duplicate key value violates unique constraint" in rehearsed_error(plan)
    assert "You can't execute queries until the end of the 'atomic' block" in for_real(*plan)


def test_code_that_commits_by_itself_is_not_rehearsed() -> None:
    operation = only_operation(runs("CALL dry_commits()"), atomic=False)

    assert operation.rehearsed == "not_rehearsed"
    assert operation.reason == (
        "CALL ran code that commits by itself; only a copy of the database can show what it does."
    )
    assert for_real(first(runs("CALL dry_commits()"), atomic=False)) == ""


def test_vacuum_is_not_rehearsed() -> None:
    operation = only_operation(runs("VACUUM dry_row"), atomic=False)

    assert operation.rehearsed == "not_rehearsed"
    assert operation.reason == "VACUUM can't run inside a transaction."
    assert [statement.note for statement in operation.statements] == ["not sent"]


def test_a_commit_in_sql_is_said_to_be_substituted() -> None:
    operation = only_operation(runs("DELETE FROM dry_child; COMMIT"))

    assert operation.rehearsed == "substituted"
    assert operation.reason == (
        "COMMIT in SQL was rehearsed with savepoints, as it would end the dry run's transaction. "
        "For real it takes effect there, and the migration is no longer atomic."
    )


def test_no_notification_is_delivered() -> None:
    with plain_connection() as listener:
        listener.execute("LISTEN dry_channel")

        passed(runs("NOTIFY dry_channel"))

        assert list(listener.notifies(timeout=0.2)) == []
        for_real(first(runs("NOTIFY dry_channel")))
        assert len(list(listener.notifies(timeout=5, stop_after=1))) == 1
