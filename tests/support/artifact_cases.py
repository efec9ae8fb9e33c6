"""Plans whose outcome differs between a real run and one transaction around everything.

The letters name the artifacts: what a plan sees only because of that one transaction.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial

from django.contrib.auth.models import Group
from django.contrib.postgres.operations import (
    AddConstraintNotValid,
    AddIndexConcurrently,
    RemoveIndexConcurrently,
    ValidateConstraint,
)
from django.db import DatabaseError, connection, connections, models, transaction
from django.db.migrations import (
    AddField,
    AddIndex,
    CreateModel,
    Migration,
    SeparateDatabaseAndState,
)
from django.db.migrations.operations.base import Operation
from django.db.migrations.state import StateApps

from tests.cases.migrations_on_disk import query
from tests.support.dry_run import executes, migration, python, runs

Plan = list[Migration]


@dataclass(frozen=True)
class Case:
    """A plan and the errors it ends with, "" for none: for real, naively, and rehearsed.

    Naively is by Django's own executor in one transaction that is rolled back.
    """

    plan: Callable[[], Plan]
    real: str = ""
    naive: str | None = None
    """None: as for real."""
    leaks: tuple[str, ...] = ()
    """The tables that are changed after the naive run has been rolled back."""
    rehearsed: str | None = None
    """None: as for real."""
    before: str = ""
    """What was committed before it."""
    since: int = 0
    until: int = 99
    """The PostgreSQL versions that it is true of."""


def first(*operations: Operation, atomic: bool = True) -> Migration:
    return migration(*operations, name="0001_first", atomic=atomic)


def second(*operations: Operation, atomic: bool = True) -> Migration:
    return migration(*operations, name="0002_second", atomic=atomic)


def third(*operations: Operation, atomic: bool = True) -> Migration:
    return migration(*operations, name="0003_third", atomic=atomic)


INSERT_CHILD = "INSERT INTO dry_child VALUES (1000, 1)"
ORPHAN = "INSERT INTO dry_child VALUES (1000, 77)"
ITS_PARENT = "INSERT INTO dry_parent VALUES (77)"
ALTER_CHILD = "ALTER TABLE dry_child ADD added integer"
DELETE_ALL = "DELETE FROM dry_child"
NONE_LEFT = "SELECT 1 / (SELECT count(*) FROM dry_child)"

NOT_INSIDE = "InternalError: {} cannot run inside a transaction block"
CREATE_NOT_INSIDE = NOT_INSIDE.format("CREATE INDEX CONCURRENTLY")
PENDING = 'OperationalError: cannot ALTER TABLE "dry_child" because it has pending trigger events'
VIOLATES = (
    'IntegrityError: insert or update on table "dry_child" violates foreign key constraint'
    ' "dry_child_parent_id_fkey"'
)
FORBIDDEN = "TransactionManagementError: This is forbidden when an 'atomic' block is active."
DURABLE = "RuntimeError: A durable atomic block cannot be nested within another atomic block."
ABORTED = (
    "TransactionManagementError: An error occurred in the current transaction. You can't execute"
    " queries until the end of the 'atomic' block."
)
REFUSED = "NotSupportedError: {}"
UNSAFE = 'OperationalError: unsafe use of new value "good" of enum type dry_mood'


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


def shop() -> list[Operation]:
    """Return operations that create two tables, the second with a deferred foreign key."""
    key = ("id", models.BigAutoField(primary_key=True))
    link = ("parent", models.ForeignKey("cases.Parent", models.CASCADE))
    return [CreateModel("Parent", [key]), CreateModel("Kid", [key, link])]


def inserts_a_kid(apps: StateApps) -> None:
    parent = apps.get_model("cases", "Parent").objects.create()
    apps.get_model("cases", "Kid").objects.create(parent=parent)


def on_commit_in_manual_management() -> None:
    connection.set_autocommit(False)
    try:
        transaction.on_commit(lambda: None)
    finally:
        connection.rollback()
        connection.set_autocommit(True)


def index_without_a_transaction() -> None:
    with connection.schema_editor(atomic=False) as editor:
        editor.execute("CREATE INDEX dry_i ON dry_row (number)")


def index_or_not() -> None:
    """Swallow the error of what can't be in a transaction, and go on."""
    with suppress(DatabaseError), connection.cursor() as cursor:
        cursor.execute("CREATE INDEX CONCURRENTLY dry_i ON dry_row (number)")
    Group.objects.create(name="after")


def drops_two_or_none() -> None:
    with suppress(DatabaseError), connection.cursor() as cursor:
        cursor.execute("DROP INDEX CONCURRENTLY dry_i, dry_j")
    Group.objects.create(name="after")


def sets_the_tablespace() -> None:
    name = connection.ops.quote_name(connection.settings_dict["NAME"])
    with connection.cursor() as cursor:
        cursor.execute(f"ALTER DATABASE {name} SET TABLESPACE pg_default")


def in_autocommit(statement: str) -> Plan:
    return [first(runs(statement), atomic=False)]


ADD_ADDED = AddField("kid", "added", models.IntegerField(null=True))
MODEL = CreateModel(
    "Thing",
    [
        ("id", models.BigAutoField(primary_key=True)),
        ("number", models.IntegerField(default=0)),
    ],
)
INDEX = models.Index(fields=["number"], name="cases_thing_number")
CHECK = models.CheckConstraint(condition=models.Q(number__gte=0), name="cases_thing_positive")
AN_INDEX = "CREATE INDEX dry_i ON dry_row (number)"
A_PART = """
    CREATE TABLE dry_whole (id int) PARTITION BY RANGE (id);
    CREATE TABLE dry_part PARTITION OF dry_whole FOR VALUES FROM (1) TO (9)
"""
PARTS_AND_THE_REST = f"{A_PART}; CREATE TABLE dry_rest PARTITION OF dry_whole DEFAULT"
AN_INDEX_OF_PARTS = f"{A_PART}; CREATE INDEX dry_i ON dry_whole (id)"
AN_EXCLUSION = "ALTER TABLE dry_row ADD CONSTRAINT dry_i EXCLUDE USING btree (id WITH =)"
MOOD = "CREATE TYPE dry_mood AS ENUM ('ok')"
MOOD_OF_ROWS = f"{MOOD}; ALTER TABLE dry_row ADD mood dry_mood"
ADD_GOOD = "ALTER TYPE dry_mood ADD VALUE 'good'"
USE_GOOD = "UPDATE dry_row SET mood = 'good'"
SAVEPOINT_GONE = 'OperationalError: savepoint "s'

CASES: dict[str, Case] = {
    # a: deferred constraints and their triggers.
    "a: rows, then DDL, in two migrations": Case(
        lambda: [first(runs(INSERT_CHILD)), second(runs(ALTER_CHILD))], naive=PENDING
    ),
    "a: RunPython inserts, AddField comes next": Case(
        lambda: [first(*shop()), second(python(inserts_a_kid)), third(ADD_ADDED)],
        naive='OperationalError: cannot ALTER TABLE "cases_kid" because it has pending trigger',
    ),
    "a: RunPython inserts, AddField comes in the same": Case(
        lambda: [first(*shop()), second(python(inserts_a_kid), ADD_ADDED)],
        'OperationalError: cannot ALTER TABLE "cases_kid" because it has pending trigger events',
    ),
    "a: rows, then DDL, in one": Case(
        lambda: [first(runs(INSERT_CHILD), runs(ALTER_CHILD))], PENDING
    ),
    "a: rows, then DDL, in a non-atomic one": Case(
        lambda: [first(runs(INSERT_CHILD), runs(ALTER_CHILD), atomic=False)], naive=PENDING
    ),
    "a: the parent comes later in the migration": Case(
        lambda: [first(runs(ORPHAN), runs(ITS_PARENT))]
    ),
    "a: the parent comes in the next migration": Case(
        lambda: [first(runs(ORPHAN)), second(runs(ITS_PARENT))], VIOLATES, naive=""
    ),
    "a: the parent never comes": Case(lambda: [first(runs(ORPHAN))], VIOLATES, naive=""),
    "a: the parent comes later, non-atomic": Case(
        lambda: [first(runs(ORPHAN), runs(ITS_PARENT), atomic=False)], VIOLATES, naive=""
    ),
    "a: the parent comes later in a script, non-atomic": Case(
        lambda: [first(runs(f"{ORPHAN}; {ITS_PARENT}"), atomic=False)]
    ),
    "a: a constraint that is deferrable, but not deferred": Case(
        lambda: [
            first(
                runs(
                    "ALTER TABLE dry_child ALTER CONSTRAINT dry_child_parent_id_fkey"
                    " DEFERRABLE INITIALLY IMMEDIATE"
                )
            ),
            second(runs(ORPHAN), runs(ITS_PARENT)),
        ],
        VIOLATES,
    ),
    # b: what PostgreSQL or Django refuses inside a transaction.
    "b: CREATE INDEX CONCURRENTLY": Case(
        lambda: [first(runs("CREATE INDEX CONCURRENTLY dry_i ON dry_row (number)"), atomic=False)],
        naive=CREATE_NOT_INSIDE,
    ),
    "b: CREATE UNIQUE INDEX CONCURRENTLY, comments": Case(
        lambda: [
            first(
                runs("/* a */ -- b\nCREATE UNIQUE INDEX CONCURRENTLY dry_i ON dry_row (number)"),
                atomic=False,
            )
        ],
        naive=CREATE_NOT_INSIDE,
    ),
    "b: in an atomic migration": Case(
        lambda: [first(runs("CREATE INDEX CONCURRENTLY dry_i ON dry_row (number)"))],
        CREATE_NOT_INSIDE,
    ),
    "b: in a script": Case(
        lambda: [
            first(
                runs("CREATE INDEX CONCURRENTLY dry_i ON dry_row (number); SELECT 1"),
                atomic=False,
            )
        ],
        CREATE_NOT_INSIDE,
    ),
    "b: with parameters, from a cursor": Case(
        lambda: [
            first(
                executes(
                    "CREATE INDEX CONCURRENTLY dry_i ON dry_row (number) WHERE name LIKE %s",
                    ["a%"],
                ),
                atomic=False,
            )
        ],
        naive=CREATE_NOT_INSIDE,
    ),
    "b: in SeparateDatabaseAndState": Case(
        lambda: [
            first(
                SeparateDatabaseAndState(
                    [runs("CREATE INDEX CONCURRENTLY dry_i ON dry_row (number)")]
                ),
                atomic=False,
            )
        ],
        naive=CREATE_NOT_INSIDE,
    ),
    "b: with its error swallowed": Case(
        lambda: [first(python(index_or_not), atomic=False)],
        naive="InternalError: current transaction is aborted",
    ),
    "b: DROP INDEX CONCURRENTLY": Case(
        lambda: [first(runs("DROP INDEX CONCURRENTLY dry_i"), atomic=False)],
        naive=NOT_INSIDE.format("DROP INDEX CONCURRENTLY"),
        before=AN_INDEX,
    ),
    "b: REINDEX INDEX CONCURRENTLY": Case(
        lambda: [first(runs("REINDEX INDEX CONCURRENTLY dry_i"), atomic=False)],
        naive=NOT_INSIDE.format("REINDEX CONCURRENTLY"),
        before=AN_INDEX,
    ),
    "b: REINDEX (CONCURRENTLY) TABLE": Case(
        lambda: [first(runs("REINDEX (CONCURRENTLY, VERBOSE) TABLE dry_row"), atomic=False)],
        naive=NOT_INSIDE.format("REINDEX CONCURRENTLY"),
    ),
    "b: DETACH PARTITION CONCURRENTLY": Case(
        lambda: [
            first(
                runs("ALTER TABLE dry_whole DETACH PARTITION dry_part CONCURRENTLY"), atomic=False
            )
        ],
        naive=NOT_INSIDE.format("ALTER TABLE ... DETACH CONCURRENTLY"),
        before=A_PART,
    ),
    "b: CREATE INDEX CONCURRENTLY on a partitioned table": Case(
        lambda: [first(runs("CREATE INDEX CONCURRENTLY ON dry_whole (id)"), atomic=False)],
        REFUSED.format('cannot create index on partitioned table "dry_whole" concurrently'),
        naive=CREATE_NOT_INSIDE,
        before=A_PART,
    ),
    "b: CREATE INDEX CONCURRENTLY on a temporary partitioned table": Case(
        lambda: [
            first(
                runs("DROP TABLE IF EXISTS dry_t"),
                runs("CREATE TEMP TABLE dry_t (id int) PARTITION BY RANGE (id)"),
                runs("CREATE INDEX CONCURRENTLY dry_i ON dry_t (id)"),
                atomic=False,
            )
        ],
        REFUSED.format('cannot create index on partitioned table "dry_t" concurrently'),
        naive=CREATE_NOT_INSIDE,
    ),
    "b: DROP INDEX CONCURRENTLY of an index of temporary partitions": Case(
        lambda: [
            first(
                runs("DROP TABLE IF EXISTS dry_t"),
                runs("CREATE TEMP TABLE dry_t (id int) PARTITION BY RANGE (id)"),
                runs("CREATE INDEX dry_i ON dry_t (id)"),
                runs("DROP INDEX CONCURRENTLY dry_i"),
                atomic=False,
            )
        ],
        naive=NOT_INSIDE.format("DROP INDEX CONCURRENTLY"),
    ),
    "b: DROP INDEX CONCURRENTLY of an index of partitions": Case(
        lambda: [first(runs("DROP INDEX CONCURRENTLY dry_i"), atomic=False)],
        REFUSED.format('cannot drop partitioned index "dry_i" concurrently'),
        naive=NOT_INSIDE.format("DROP INDEX CONCURRENTLY"),
        before=AN_INDEX_OF_PARTS,
    ),
    "b: DROP INDEX CONCURRENTLY of two": Case(
        lambda: [first(runs("DROP INDEX CONCURRENTLY IF EXISTS dry_i, dry_j"), atomic=False)],
        REFUSED.format("DROP INDEX CONCURRENTLY does not support dropping multiple objects"),
        naive=NOT_INSIDE.format("DROP INDEX CONCURRENTLY"),
    ),
    "b: DROP INDEX CONCURRENTLY with CASCADE": Case(
        lambda: [first(runs("DROP INDEX CONCURRENTLY public.dry_i CASCADE"), atomic=False)],
        REFUSED.format("DROP INDEX CONCURRENTLY does not support CASCADE"),
        naive=NOT_INSIDE.format("DROP INDEX CONCURRENTLY"),
        before=AN_INDEX,
    ),
    "b: DROP INDEX CONCURRENTLY of none": Case(
        lambda: [first(runs("DROP INDEX CONCURRENTLY dry_i"), atomic=False)],
        'ProgrammingError: index "dry_i" does not exist',
        naive=NOT_INSIDE.format("DROP INDEX CONCURRENTLY"),
    ),
    "b: REINDEX CONCURRENTLY of an exclusion constraint": Case(
        lambda: [first(runs("REINDEX INDEX CONCURRENTLY dry_i"), atomic=False)],
        REFUSED.format("concurrent index creation for exclusion constraints is not supported"),
        naive=NOT_INSIDE.format("REINDEX CONCURRENTLY"),
        before=AN_EXCLUSION,
    ),
    "b: REINDEX CONCURRENTLY of a table with an exclusion constraint": Case(
        lambda: [first(runs("REINDEX TABLE CONCURRENTLY dry_row"), atomic=False)],
        naive=NOT_INSIDE.format("REINDEX CONCURRENTLY"),
        before=AN_EXCLUSION,
    ),
    "b: REINDEX CONCURRENTLY of a system catalog": Case(
        lambda: [first(runs("REINDEX TABLE CONCURRENTLY pg_class"), atomic=False)],
        REFUSED.format("cannot reindex system catalogs concurrently"),
        naive=NOT_INSIDE.format("REINDEX CONCURRENTLY"),
    ),
    "b: DETACH PARTITION CONCURRENTLY beside a default partition": Case(
        lambda: [
            first(
                runs("ALTER TABLE dry_whole DETACH PARTITION dry_part CONCURRENTLY"), atomic=False
            )
        ],
        "OperationalError: cannot detach partitions concurrently when a default partition exists",
        naive=NOT_INSIDE.format("ALTER TABLE ... DETACH CONCURRENTLY"),
        before=PARTS_AND_THE_REST,
    ),
    "b: a refusal of CONCURRENTLY with its error swallowed": Case(
        lambda: [first(python(drops_two_or_none), atomic=False)],
        naive="InternalError: current transaction is aborted",
    ),
    **{
        f"b: {what}": Case(
            partial(in_autocommit, what),
            naive=NOT_INSIDE.format(what.partition(" dry")[0].replace(" (VERBOSE)", "")),
            before=AN_INDEX_OF_PARTS,
        )
        for what in (
            "REINDEX TABLE dry_whole",
            "REINDEX (VERBOSE) TABLE dry_whole",
            "REINDEX INDEX dry_i",
        )
    },
    "b: REINDEX TABLE CONCURRENTLY of a partitioned table": Case(
        lambda: [first(runs("REINDEX TABLE CONCURRENTLY dry_whole"), atomic=False)],
        naive=NOT_INSIDE.format("REINDEX CONCURRENTLY"),
        before=AN_INDEX_OF_PARTS,
    ),
    "b: CLUSTER of a partitioned table": Case(
        lambda: [first(runs("CLUSTER dry_whole USING dry_i"), atomic=False)],
        naive=NOT_INSIDE.format("CLUSTER"),
        before=AN_INDEX_OF_PARTS,
        since=15,
    ),
    "b: ALTER DATABASE ... SET TABLESPACE": Case(
        lambda: [first(python(sets_the_tablespace), atomic=False)],
        "OperationalError: cannot change the tablespace of the currently open database",
        naive=NOT_INSIDE.format("ALTER DATABASE SET TABLESPACE"),
        rehearsed="",
    ),
    "b: VACUUM in a DO block": Case(
        lambda: [first(runs("DO $$ BEGIN VACUUM dry_row; END $$"), atomic=False)],
        "InternalError: VACUUM cannot be executed from a function",
        naive=NOT_INSIDE.format("VACUUM"),
        rehearsed="InternalError: VACUUM cannot",
    ),
    "b: AddIndexConcurrently": Case(
        lambda: [first(MODEL), second(AddIndexConcurrently("thing", INDEX), atomic=False)],
        naive="NotSupportedError: The AddIndexConcurrently operation cannot be executed inside a"
        " transaction (set atomic = False on the migration).",
    ),
    "b: RemoveIndexConcurrently": Case(
        lambda: [
            first(MODEL, AddIndex("thing", INDEX)),
            second(RemoveIndexConcurrently("thing", INDEX.name), atomic=False),
        ],
        naive="NotSupportedError: The RemoveIndexConcurrently operation cannot be executed inside"
        " a transaction (set atomic = False on the migration).",
    ),
    "b: AddIndexConcurrently in an atomic migration": Case(
        lambda: [first(MODEL), second(AddIndexConcurrently("thing", INDEX))],
        "NotSupportedError: The AddIndexConcurrently operation cannot be executed inside a"
        " transaction (set atomic = False on the migration).",
    ),
    "b: AddConstraintNotValid and ValidateConstraint": Case(
        lambda: [
            first(MODEL),
            second(AddConstraintNotValid("thing", CHECK)),
            third(ValidateConstraint("thing", CHECK.name)),
        ]
    ),
    "b: schema_editor(atomic=False)": Case(
        lambda: [first(python(index_without_a_transaction), atomic=False)]
    ),
    # c: code that begins, commits and rolls back, or counts on autocommit.
    "c: durable": Case(lambda: [first(python(durable), atomic=False)], naive=DURABLE),
    "c: durable in an atomic migration": Case(lambda: [first(python(durable))], DURABLE),
    "c: set_autocommit": Case(
        lambda: [first(python(autocommit_games), atomic=False)], naive=FORBIDDEN
    ),
    "c: set_autocommit in an atomic migration": Case(
        lambda: [first(python(autocommit_games))], FORBIDDEN
    ),
    "c: autocommit off, the parent comes last": Case(
        lambda: [first(python(autocommit_off_and_orphan), atomic=False)], naive=FORBIDDEN
    ),
    "c: commit() of the driver": Case(
        lambda: [first(python(raw_commit), atomic=False)], leaks=("dry_parent",)
    ),
    "c: commit() of the driver in an atomic migration": Case(
        lambda: [first(python(raw_commit))], naive=SAVEPOINT_GONE, leaks=("dry_parent",)
    ),
    "c: commit() of a transaction that failed": Case(
        lambda: [first(python(commits_what_failed), atomic=False)], naive=FORBIDDEN
    ),
    "c: BEGIN and COMMIT": Case(
        lambda: [first(runs(f"BEGIN; {ORPHAN}; {ITS_PARENT}; COMMIT"), atomic=False)],
        leaks=("dry_child", "dry_parent"),
    ),
    "c: BEGIN and COMMIT one by one": Case(
        lambda: [
            first(
                *(runs(each) for each in ("BEGIN", ORPHAN, ITS_PARENT, "COMMIT")),
                atomic=False,
            )
        ],
        leaks=("dry_child", "dry_parent"),
    ),
    "c: BEGIN and ROLLBACK": Case(
        lambda: [first(runs(f"BEGIN; {DELETE_ALL}; ROLLBACK"), runs(NONE_LEFT), atomic=False)]
    ),
    "c: COMMIT in an atomic migration": Case(
        lambda: [first(runs(f"{ITS_PARENT}; COMMIT"))], naive=SAVEPOINT_GONE, leaks=("dry_parent",)
    ),
    "c: COMMIT of a violation in an atomic migration": Case(
        lambda: [first(runs(f"{ORPHAN}; COMMIT"), runs(ITS_PARENT))], VIOLATES
    ),
    "c: ROLLBACK in an atomic migration": Case(
        lambda: [first(runs(f"{DELETE_ALL}; ROLLBACK"), runs(NONE_LEFT))], naive=SAVEPOINT_GONE
    ),
    "c: ROLLBACK, then more": Case(
        lambda: [first(runs(f"ROLLBACK; {ITS_PARENT}"), atomic=False)], leaks=("dry_parent",)
    ),
    "c: ROLLBACK, then more, in an atomic migration": Case(
        lambda: [first(runs(f"ROLLBACK; {ITS_PARENT}"))],
        naive=SAVEPOINT_GONE,
        leaks=("dry_parent",),
    ),
    "c: swallowed errors": Case(
        lambda: [first(python(swallows_errors), atomic=False)], naive=ABORTED
    ),
    "c: swallowed errors in an atomic migration": Case(
        lambda: [first(python(swallows_errors))],
        ABORTED,
        rehearsed="UniqueViolation: duplicate key value violates unique constraint",
    ),
    "c: swallowed errors of atomic blocks": Case(
        lambda: [first(python(swallows_errors_in_atomic))]
    ),
    "c: swallowed errors of atomic blocks, non-atomic": Case(
        lambda: [first(python(swallows_errors_in_atomic), atomic=False)]
    ),
    "c: a script fails in the middle, non-atomic": Case(
        lambda: [first(runs(f"{DELETE_ALL}; SELECT 1 / 0"), atomic=False)],
        "DataError: division by zero",
    ),
    "c: a procedure that commits": Case(
        lambda: [first(runs("CALL dry_commits()"), atomic=False)],
        naive="InternalError: invalid transaction termination",
    ),
    "c: the driver's transaction()": Case(
        lambda: [first(python(driver_transaction), atomic=False)]
    ),
    "c: the driver's transaction() in an atomic migration": Case(
        lambda: [first(python(driver_transaction))]
    ),
    "c: the driver's transaction() rolled back": Case(
        lambda: [first(python(driver_transaction_rolled_back), atomic=False)]
    ),
    "c: SET LOCAL outside a transaction": Case(
        lambda: [
            first(
                runs("SET LOCAL statement_timeout = '100ms'"),
                runs("SELECT pg_sleep(0.2)"),
                atomic=False,
            )
        ],
        naive="OperationalError: canceling statement due to statement timeout",
    ),
    "c: SET LOCAL ends with its transaction": Case(
        lambda: [
            first(runs("SET LOCAL statement_timeout = '500ms'")),
            second(runs("SELECT pg_sleep(0.6)")),
        ],
        naive="OperationalError: canceling statement due to statement timeout",
    ),
    "c: two statements in a pipeline": Case(
        lambda: [first(python(two_statements_in_a_pipeline))],
        "SyntaxError: cannot insert multiple commands into a prepared statement",
    ),
    "c: a temporary table that COMMIT drops": Case(
        lambda: [
            first(runs("CREATE TEMP TABLE dry_t (id int) ON COMMIT DROP")),
            second(runs("CREATE TEMP TABLE dry_t (id int) ON COMMIT DROP")),
        ],
        naive='ProgrammingError: relation "dry_t" already exists',
    ),
    "c: a temporary table that COMMIT drops, used later": Case(
        lambda: [
            first(
                runs("CREATE TEMP TABLE dry_t ON COMMIT DROP AS SELECT 1 AS id"),
                runs("SELECT * FROM dry_t"),
                atomic=False,
            ),
        ],
        'ProgrammingError: relation "dry_t" does not exist',
        naive="",
    ),
    "c: a temporary table that COMMIT empties": Case(
        lambda: [
            first(runs("CREATE TEMP TABLE dry_t (id int PRIMARY KEY) ON COMMIT DELETE ROWS")),
            second(runs("INSERT INTO dry_t VALUES (1)")),
            third(runs("INSERT INTO dry_t VALUES (1)")),
        ],
        naive="IntegrityError: duplicate key value violates unique constraint",
    ),
    "c: on_commit() in manual transaction management": Case(
        lambda: [first(python(on_commit_in_manual_management), atomic=False)],
        "TransactionManagementError: on_commit() cannot be used in manual transaction management",
        naive="TransactionManagementError: This is forbidden when an 'atomic' block is active.",
    ),
    "c: SET TRANSACTION at the beginning": Case(
        lambda: [
            first(runs("SET TRANSACTION ISOLATION LEVEL SERIALIZABLE"), runs(INSERT_CHILD)),
            second(runs(DELETE_ALL)),
        ],
        naive="SET TRANSACTION ISOLATION LEVEL must be called before any query",
    ),
    "c: close()": Case(
        lambda: [first(python(closes_the_connection), atomic=False)],
        naive="OperationalError: the connection is closed",
    ),
    "c: a named cursor left open": Case(
        lambda: [
            first(python(named_cursor_left_open)),
            second(runs("ALTER TABLE dry_row ADD added integer")),
        ],
        naive='OperationalError: cannot ALTER TABLE "dry_row" because it is being used by active'
        " queries in this session",
    ),
    # d: values of an enum. For real each is used after the COMMIT that PostgreSQL wants.
    "d: a value, used in the next migration": Case(
        lambda: [first(runs(ADD_GOOD)), second(runs(USE_GOOD))],
        naive=UNSAFE,
        before=MOOD_OF_ROWS,
    ),
    "d: a value that a DO block adds, used in the next migration": Case(
        lambda: [first(runs(f"DO $$ BEGIN {ADD_GOOD}; END $$")), second(runs(USE_GOOD))],
        naive=UNSAFE,
        before=MOOD_OF_ROWS,
    ),
    "d: values before and after others, in their order": Case(
        lambda: [
            first(
                runs(
                    "ALTER TYPE dry_mood ADD VALUE 'first' BEFORE 'ok';"
                    " ALTER TYPE dry_mood ADD VALUE 'second' AFTER 'first';"
                    " ALTER TYPE dry_mood ADD VALUE 'last'"
                )
            ),
            second(
                runs(
                    "UPDATE dry_row SET mood = (enum_range('first'::dry_mood))[1 + id % 4];"
                    " CREATE INDEX ON dry_row (mood) WHERE mood < 'last'"
                ),
                runs(
                    "DO $$ BEGIN ASSERT (SELECT string_agg(mood::text, ' ' ORDER BY mood)"
                    " FROM (SELECT DISTINCT mood FROM dry_row) m) = 'first second ok last';"
                    " END $$"
                ),
            ),
        ],
        naive=UNSAFE.partition('"')[0],
        before=MOOD_OF_ROWS,
    ),
    "d: a value, used in the same migration": Case(
        lambda: [first(runs(ADD_GOOD), runs(USE_GOOD))], UNSAFE, before=MOOD_OF_ROWS
    ),
    "d: a value, used in the same, non-atomic": Case(
        lambda: [first(runs(ADD_GOOD), runs(USE_GOOD), atomic=False)],
        naive=UNSAFE,
        before=MOOD_OF_ROWS,
    ),
    "d: a type, its value and its use in three migrations": Case(
        lambda: [first(runs(MOOD_OF_ROWS)), second(runs(ADD_GOOD)), third(runs(USE_GOOD))],
        naive=UNSAFE,
    ),
    # From 17 on PostgreSQL allows it where the type is of the very transaction; but one in
    # savepoints has none of its own for the migration.
    "d: a type, its value and its use in one migration": Case(
        lambda: [first(runs(MOOD_OF_ROWS), runs(ADD_GOOD), runs(USE_GOOD))],
        naive=UNSAFE,
        rehearsed=UNSAFE,
        since=17,
    ),
    "d: a type, its value and its use in one migration, before 17": Case(
        lambda: [first(runs(MOOD_OF_ROWS), runs(ADD_GOOD), runs(USE_GOOD))], UNSAFE, until=16
    ),
    "d: a value that is inserted into the catalog": Case(
        lambda: [
            first(
                runs(
                    "INSERT INTO pg_enum (oid, enumtypid, enumsortorder, enumlabel)"
                    " SELECT max(oid::bigint) + 1, 'dry_mood'::regtype, 2, 'good' FROM pg_enum"
                )
            ),
            second(runs(USE_GOOD)),
        ],
        before=MOOD_OF_ROWS,
    ),
    "d: a value that is renamed": Case(
        lambda: [
            first(runs("ALTER TYPE dry_mood RENAME VALUE 'ok' TO 'good'")),
            second(runs(USE_GOOD)),
        ],
        before=MOOD_OF_ROWS,
    ),
    # e: VACUUM, and what else is never inside a transaction.
    "e: VACUUM": Case(
        lambda: [first(runs("VACUUM dry_row"), atomic=False)], naive=NOT_INSIDE.format("VACUUM")
    ),
    "e: VACUUM in an atomic migration": Case(
        lambda: [first(runs("VACUUM dry_row"))], NOT_INSIDE.format("VACUUM")
    ),
    "e: VACUUM in a script": Case(
        lambda: [first(runs("SELECT 1; VACUUM dry_row"), atomic=False)],
        NOT_INSIDE.format("VACUUM"),
    ),
    "e: ANALYZE": Case(lambda: [first(runs("ANALYZE dry_row"))]),
    "e: CREATE DATABASE in an atomic migration": Case(
        lambda: [first(runs("CREATE DATABASE dry_never"))], NOT_INSIDE.format("CREATE DATABASE")
    ),
    # i: another alias is another transaction.
    "i: the parent never comes on another alias": Case(
        lambda: [first(python(orphan_on_the_other_alias))], VIOLATES
    ),
}
