"""Before the first migration: what will be touched, who is at work there, what is refused."""

from __future__ import annotations

import time
from contextlib import ExitStack
from typing import Any

import pytest
from django.db import connection, models, transaction
from django.db.migrations import (
    AddField,
    AddIndex,
    AlterField,
    CreateModel,
    DeleteModel,
    RemoveField,
    RenameField,
    RenameModel,
    RunPython,
    RunSQL,
    SeparateDatabaseAndState,
)
from django.db.migrations.operations.base import Operation
from pytest_django import Settings

from django_confiture import DryRunExecutor, Hook, HookContext, HookResult, RunHook
from django_confiture.exceptions import DryRunRefused
from tests.cases.migrations_on_disk import Cases, query
from tests.management.test_migrate_dryrun import ID, Ran, dry_run, in_json
from tests.support.dry_run import migration, plain_connection, python, runs
from tests.support.server import OwnServer, own_server

__all__ = ["own_server"]

A = CreateModel("A", [ID, ("number", models.IntegerField(null=True))])
B = CreateModel(
    "B",
    [
        ID,
        ("a", models.ForeignKey("cases.a", models.CASCADE)),
        ("others", models.ManyToManyField("cases.a", related_name="+")),
    ],
)
C = CreateModel("C", [ID, ("name", models.TextField(default=""))], {"db_table": "cases_Odd one"})
P = CreateModel("P", [], {"proxy": True}, bases=("cases.a",))
U = CreateModel("U", [ID], {"managed": False, "db_table": "cases_u"})
FK = models.ForeignKey("cases.a", models.CASCADE, null=True)


@pytest.fixture
def base(cases: Cases) -> Cases:
    """Give tables of all kinds, and migrations on top of them."""
    cases.add("0001_base", A, B, C, P, U, runs("CREATE TABLE cases_u (id bigint PRIMARY KEY)"))
    cases.migrate()
    return cases


def preflight(*args: str, code: int = 0) -> dict[str, Any]:
    found: dict[str, Any] = in_json("cases", *args, code=code)["preflight"]
    return found


def touched(*operations: Operation, base: Cases) -> set[str]:
    base.add("0002_case", *operations)
    return {each["relation"] for each in preflight()["tables"]}


# Tables.


@pytest.mark.parametrize(
    ("operations", "expected"),
    [
        pytest.param([CreateModel("N", [ID])], set(), id="a new table"),
        pytest.param(
            [CreateModel("N", [ID, ("a", FK)])], {"cases_a"}, id="a new table that refers"
        ),
        pytest.param(
            [CreateModel("N", [ID, ("a", models.ForeignKey("cases.p", models.CASCADE))])],
            {"cases_a"},
            id="a new table that refers to a proxy",
        ),
        pytest.param(
            [CreateModel("N", [ID, ("u", models.ForeignKey("cases.u", models.CASCADE))])],
            {"cases_u"},
            id="a new table that refers to one that is not managed",
        ),
        pytest.param([CreateModel("N", [ID]), AddField("n", "a", FK)], {"cases_a"}, id="later"),
        pytest.param([AddField("a", "x", models.IntegerField(null=True))], {"cases_a"}, id="add"),
        pytest.param(
            [AddField("c", "a", FK)], {"cases_Odd one", "cases_a"}, id="add a foreign key, odd name"
        ),
        pytest.param(
            [AddField("c", "a", models.ForeignKey("cases.a", models.CASCADE, db_constraint=False))],
            {"cases_Odd one"},
            id="add one without a constraint",
        ),
        pytest.param(
            [AddField("c", "many", models.ManyToManyField("cases.a"))],
            {"cases_Odd one", "cases_a"},
            id="add a many-to-many field",
        ),
        pytest.param([RemoveField("a", "number")], {"cases_a"}, id="remove"),
        pytest.param(
            [RemoveField("b", "others")],
            {"cases_a", "cases_b", "cases_b_others"},
            id="remove a many-to-many field",
        ),
        pytest.param(
            [AlterField("a", "number", models.BigIntegerField(null=True))], {"cases_a"}, id="alter"
        ),
        pytest.param(
            [AlterField("a", "number", models.IntegerField(null=True, help_text="new"))],
            set(),
            id="alter what no database knows of",
        ),
        pytest.param(
            [AlterField("a", "id", models.AutoField(primary_key=True))],
            {"cases_a", "cases_b", "cases_b_others"},
            id="alter a primary key",
        ),
        pytest.param([RenameField("a", "number", "renamed")], {"cases_a"}, id="rename a field"),
        pytest.param(
            [
                DeleteModel("P"),
                RenameModel("A", "Z"),
                AddField("z", "x", models.IntegerField(null=True)),
            ],
            {"cases_a", "cases_b", "cases_b_others"},
            id="rename a model, and go on with it",
        ),
        pytest.param(
            [DeleteModel("B")], {"cases_a", "cases_b", "cases_b_others"}, id="delete a model"
        ),
        pytest.param(
            [AddIndex("a", models.Index(fields=["number"], name="cases_i"))],
            {"cases_a"},
            id="index",
        ),
        pytest.param([AddField("u", "x", models.IntegerField(null=True))], set(), id="not managed"),
    ],
)
def test_tables_of_operations(base: Cases, operations: list[Operation], expected: set[str]) -> None:
    assert touched(*operations, base=base) == expected


ADD = "ALTER TABLE cases_a ADD COLUMN {} integer"


@pytest.mark.parametrize(
    "operation",
    [
        pytest.param(RunSQL(ADD.format("x")), id="a text"),
        pytest.param(RunSQL(f"{ADD.format('x')}; {ADD.format('y')}"), id="a script"),
        pytest.param(RunSQL([ADD.format("x"), ADD.format("y")]), id="a list"),
        pytest.param(RunSQL([("UPDATE cases_a SET number = %s", [1])]), id="with parameters"),
        pytest.param(
            SeparateDatabaseAndState(database_operations=[RunSQL(ADD.format("x"))]), id="separate"
        ),
        pytest.param(
            SeparateDatabaseAndState(
                database_operations=[
                    AddField("a", "x", models.IntegerField(null=True)),
                    RenameField("a", "x", "y"),
                ],
                state_operations=[AddField("a", "y", models.IntegerField(null=True))],
            ),
            id="separate, in other steps",
        ),
    ],
)
def test_tables_of_sql(base: Cases, operation: Operation) -> None:
    assert touched(operation, base=base) == {"cases_a"}


def test_a_separate_state_touches_nothing(base: Cases) -> None:
    separate = SeparateDatabaseAndState(state_operations=[RemoveField("a", "number")])

    assert touched(separate, base=base) == set()


def test_backwards(base: Cases) -> None:
    base.add(
        "0002_case",
        RunSQL("SELECT 1", "UPDATE cases_u SET id = id"),
        RenameModel("C", "D"),
        AddField("d", "a", FK),
    )
    base.add("0003_other", AddField("b", "x", models.IntegerField(null=True)))
    base.migrate()

    found = preflight("0002")
    assert {each["relation"] for each in found["tables"]} == {"cases_b"}
    found = preflight("0001")
    assert {each["relation"] for each in found["tables"]} == {
        *("cases_a", "cases_b", "cases_u", "cases_Odd one"),
    }


def test_the_plan_is_not_changed_by_reading_it(cases: Cases) -> None:
    """RenameField changes field objects, and the operation that has them is still to run."""
    key: list[tuple[str, models.Field[Any, Any]]] = [
        ("pk", models.CompositePrimaryKey("x", "y")),
        ("x", models.IntegerField()),
        ("y", models.IntegerField()),
    ]
    cases.add("0001_a", CreateModel("A", key))
    cases.add("0002_rename", RenameField("a", "x", "z"))

    document = in_json("cases")

    assert [each["outcome"] for each in document["migrations"]] == ["passed"] * 2


@pytest.mark.parametrize("separate", [False, True])
def test_nor_are_the_fields_that_refer_to_a_renamed_one(cases: Cases, separate: bool) -> None:
    code = models.CharField(max_length=5, unique=True)
    to_code = models.ForeignKey("cases.a", models.CASCADE, to_field="code")
    rename: Operation = RenameField("a", "code", "name")
    if separate:
        rename = RunSQL("ALTER TABLE cases_a RENAME code TO name", state_operations=[rename])
    cases.add("0001_a", CreateModel("A", [ID, ("code", code)]))
    cases.add("0002_b", CreateModel("B", [ID, ("a", to_code)]))
    cases.add("0003_rename", rename)
    cases.add("0004_b", AlterField("b", "a", models.ForeignKey("cases.a", models.PROTECT)))

    document = in_json("cases")

    assert [each["outcome"] for each in document["migrations"]] == ["passed"] * 4


class KeepsAway:
    """A router that allows nothing of the model A."""

    def allow_migrate(self, db: str, app_label: str, model_name: str = "", **hints: Any) -> Any:
        return False if model_name == "a" or hints.get("kept_away") else None


def test_what_a_router_keeps_away_is_not_touched(base: Cases, settings: Settings) -> None:
    settings.DATABASE_ROUTERS = [KeepsAway()]
    add = AddField("a", "x", models.IntegerField(null=True))
    away = RunSQL("UPDATE cases_b SET id = id", hints={"kept_away": True})

    assert touched(add, away, base=base) == set()


def test_rows_sizes_and_partitions(base: Cases) -> None:
    query("INSERT INTO cases_a (number) SELECT i FROM generate_series(1, 1000) i RETURNING 1")
    with connection.cursor() as cursor:
        cursor.execute(
            "CREATE TABLE cases_parted (id integer, x text) PARTITION BY RANGE (id);"
            "CREATE TABLE cases_parted_1 PARTITION OF cases_parted FOR VALUES FROM (1) TO (500);"
            "CREATE TABLE cases_parted_2 PARTITION OF cases_parted FOR VALUES FROM (500) TO (9999);"
            "INSERT INTO cases_parted SELECT i, repeat('x', 1000) FROM generate_series(1, 900) i;"
            "ANALYZE cases_a, cases_parted"
        )
    add = runs("ALTER TABLE cases_parted ADD y integer")
    base.add("0002_case", add, RemoveField("a", "number"), DeleteModel("B"))

    found = preflight()["tables"]

    assert [each["relation"] for each in found] == [
        *("cases_parted", "cases_a", "cases_b_others", "cases_b"),
    ]
    assert [each["rows"] for each in found] == [900, 1000, None, None]
    total = "SELECT sum(pg_total_relation_size(c))::bigint FROM unnest(%s::regclass[]) c"
    assert [each["size_bytes"] for each in found[:2]] == [
        query(total, "{cases_parted_1,cases_parted_2}")[0][0],
        query(total, "{cases_a}")[0][0],
    ]


def test_a_table_that_another_session_has_locked_holds_nothing_up(base: Cases) -> None:
    base.add("0002_case", DeleteModel("B"))
    with plain_connection() as other, other.transaction():
        other.execute("LOCK TABLE cases_b IN ACCESS EXCLUSIVE MODE")
        started = time.monotonic()
        ran = dry_run("cases")

    assert ran.code == 2
    said = " ".join((ran.out + ran.err).split())
    assert "Gave up after waiting 2.0 s for AccessShareLock on cases_b, held by session" in said
    assert "receivers.pre_migrate" not in said
    assert time.monotonic() - started < 8  # the dry run waits for 2 s, the probes for 0.5 s twice


def test_a_locked_table_that_the_plan_leaves_alone_is_not_waited_for(base: Cases) -> None:
    """Its indexes and constraints are not deparsed, which would wait."""
    base.add("0002_case", AddField("A", "late", models.IntegerField(null=True)))
    with plain_connection() as other, other.transaction():
        other.execute('CREATE INDEX cases_odd ON "cases_Odd one" (lower(name))')
        other.execute('ALTER TABLE "cases_Odd one" ADD CHECK (length(name) < 100)')
        ran = dry_run("cases")
    assert ran.code == 0, ran.err


# What can't be known.


class Touches(Hook):
    """A hook."""

    def execute(self, conn: Any, context: HookContext) -> HookResult:
        return HookResult("BEFORE_DDL", "Touches")


class Backwards(Touches):
    """One for the other direction."""

    directions = ("backward",)


class Absent(Touches):
    """One that no dry run runs."""

    runs_in_dry_run = False


class Own(Operation):
    """An operation of a project's own."""

    reduces_to_sql = False

    def state_forwards(self, app_label: str, state: Any) -> None:
        pass

    def database_forwards(self, app_label: str, editor: Any, before: Any, after: Any) -> None:
        pass


def test_code_may_touch_others(base: Cases, settings: Settings) -> None:
    hook = "tests.dry_run.plan.test_preflight.Touches"
    settings.CONFITURE = {
        "PHASES": {"BEFORE_DDL": [hook, "tests.dry_run.plan.test_preflight.Backwards"]}
    }
    base.add(
        "0002_case",
        python(lambda: None),
        RunPython(RunPython.noop),
        python(lambda: None),
        RunHook(Touches, phase="BEFORE_DDL"),
        RunHook(Absent, phase="BEFORE_DDL"),
        Own(),
        runs("DO 'BEGIN END'"),
    )

    assert preflight()["not_known"] == [
        *("2 RunPython", "1 SQL that runs code", "1 custom operation", "2 hooks"),
    ]
    lines = " ".join(dry_run("cases").err.split())
    assert (
        "touches 2 RunPython, 1 SQL that runs code, 1 custom operation and 2 hooks may touch tables"
    ) in lines


def test_an_operation_that_fails_to_be_read_fails_in_its_turn(base: Cases) -> None:
    base.add("0002_case", RunSQL("UPDATE cases_a SET id = id"), AddField("gone", "x", FK))

    found = preflight(code=1)

    assert found["not_known"] == ["1 unreadable operation"]
    assert [each["relation"] for each in found["tables"]] == ["cases_a"]


@pytest.mark.parametrize(
    ("length", "not_known"), [("many", ["1 unreadable operation"]), ("30", [])]
)
def test_what_comes_after_a_field_that_can_not_be_read_is_still_read(
    base: Cases, length: str, not_known: list[str]
) -> None:
    odd = models.CharField(max_length=length, null=True)  # type: ignore[arg-type]
    later = AddField("b", "x", models.IntegerField(null=True))
    made = CreateModel("New", [("id", models.AutoField(primary_key=True)), ("odd", odd)])
    base.add("0002_case", AddField("a", "odd", odd), made, later)

    found = preflight(code=1 if not_known else 0)

    assert {each["relation"] for each in found["tables"]} == {"cases_a", "cases_b"}
    assert found["not_known"] == not_known


# Other sessions.


def test_who_is_at_work(base: Cases) -> None:
    base.add("0002_case", AddField("b", "x", models.IntegerField(null=True)))
    with ExitStack() as stack:
        one, two, three = (stack.enter_context(plain_connection()) for _each in range(3))
        for other, statement in (
            (one, "SELECT 1"),
            (two, "SELECT FROM cases_a"),
            (three, "SELECT FROM cases_b; SELECT FROM cases_b_others"),
        ):
            other.execute(
                "SELECT set_config('application_name', %s, false)", [f"{statement[-12:]}"]
            )
            stack.enter_context(other.transaction())
            other.execute(statement)
        time.sleep(1.1)
        pids = one.info.backend_pid, three.info.backend_pid
        found = preflight(code=2)
        err = dry_run("cases").err

    assert found["sessions"] == 1
    assert [each["sessions"] for each in found["tables"]] == [1]
    longest, oldest = found["longest"], found["oldest_transaction"]
    assert (longest["pid"], longest["application"]) == (pids[1], "ses_b_others")
    assert longest["state"] == "idle in transaction"
    assert 1100 < longest["transaction_ms"] < 20_000
    assert (oldest["pid"], oldest["application"]) == (pids[0], "SELECT 1")
    assert oldest["transaction_ms"] > longest["transaction_ms"]
    assert found["hidden_sessions"] == 0
    text = " ".join(err.split())
    assert "1 other session on these tables, the longest" in text
    assert f"pid {pids[1]}, ses_b_others, idle in transaction" in text
    assert "oldest transaction" in text


def test_no_other_session_is_at_work(base: Cases) -> None:
    base.add("0002_case", AddField("b", "x", models.IntegerField(null=True)))

    found = preflight()

    assert (found["sessions"], found["longest"]) == (0, None)
    assert "at work   no other session on these tables\n" in dry_run("cases").err


def test_a_prepared_transaction_counts_as_another_session(
    own_server: OwnServer, cases: Cases
) -> None:
    cases.add("0001_case", runs("ALTER TABLE dry_p ADD x integer"))
    with own_server.started(max_prepared_transactions=2), own_server.connect() as other:
        other.execute("CREATE TABLE dry_p (id integer)")
        other.execute("BEGIN")
        other.execute("LOCK TABLE dry_p IN SHARE MODE")
        other.execute("PREPARE TRANSACTION 'dry'")
        try:
            found = preflight(code=2)
        finally:
            other.execute("ROLLBACK PREPARED 'dry'")
            other.execute("DROP TABLE dry_p")

    assert found["sessions"] == 1
    assert (found["longest"], found["oldest_transaction"]["state"]) == (None, "prepared")
    assert found["oldest_transaction"]["pid"] is None


# What is printed.


def test_the_lines(base: Cases) -> None:
    base.add("0002_case", AddField("b", "x", models.IntegerField(null=True)))

    lines = dry_run("cases").err.splitlines()

    assert lines == [
        "Before the first migration:",
        "  touches   cases_b  ? rows  16 kB",
        "  at work   no other session on these tables",
        "  limits    waits 2.0 s for a lock; ends once others have waited 200 ms for it",
        "            (watchdog); stops at 1 GB of dead space",
        "  Rehearsing cases.0002_case... passed",
    ]


def test_at_most_ten_tables(base: Cases) -> None:
    with connection.cursor() as cursor:
        for number in range(12):
            cursor.execute(f"CREATE TABLE cases_many_{number} (id integer)")
    base.add("0002_case", *[runs(f"DROP TABLE cases_many_{number}") for number in range(12)])

    ran = dry_run("cases")

    assert len(preflight()["tables"]) == 12
    assert "            and 2 more\n" in ran.err
    assert max(map(len, ran.err.splitlines())) <= 80


def test_without_limits(base: Cases, settings: Settings) -> None:
    settings.CONFITURE = {"DRY_RUN": {"LOCK_TIMEOUT": None, "MAX_DEAD_SPACE": None}}
    base.add("0002_case", CreateModel("N", [ID]))

    ran = dry_run("cases", "--no-watchdog")

    assert "  touches   no table that exists\n" in ran.err
    assert (
        "  limits    waits forever for a lock; no watchdog: others wait until it ends\n" in ran.err
    )
    found = preflight("--no-watchdog")
    assert (found["lock_timeout_ms"], found["yield_after_ms"]) == (None, None)
    assert found["max_dead_bytes"] is None


def test_nothing_is_printed_without_verbosity_or_migrations(base: Cases) -> None:
    assert dry_run("cases").err == ""
    assert in_json("cases")["preflight"] is None
    base.add("0002_case", CreateModel("N", [ID]))
    assert dry_run("cases", verbosity=0).err == ""


def test_nothing_stays_locked(base: Cases) -> None:
    """The look itself takes locks, which must be gone when the first migration begins."""
    base.add(
        "0002_case",
        python(lambda: held.extend(query(HELD))),
        runs("UPDATE cases_a SET number = 1"),
    )
    held: list[Any] = []
    query("SELECT 1")

    assert dry_run("cases").code == 0
    assert held == [(0,)]


HELD = (
    "SELECT count(*) FROM pg_locks WHERE pid = pg_backend_pid() AND relation = 'cases_a'::regclass"
)


# Refusals.


def refused(ran: Ran) -> str:
    """Return why it did not begin; nothing may have been run."""
    assert ran.code == 2
    assert "Rehearsing" not in ran.err
    assert ran.out == ""
    (line,) = ran.err.splitlines()[-1:]
    return line.removeprefix("CommandError: ")


def test_refuses_a_transaction_that_others_have_begun(base: Cases) -> None:
    expected = (
        "The connection to 'default' is in a transaction already; run the command outside of "
        "atomic(), or end what was begun."
    )
    with transaction.atomic():
        assert refused(dry_run("cases")) == expected
    connection.connection.execute("BEGIN; SELECT 1")
    assert refused(dry_run("cases")) == expected
    connection.connection.execute("ROLLBACK")
    connection.connection.execute("BEGIN")
    with pytest.raises(Exception, match="division by zero"):
        connection.connection.execute("SELECT 1/0")
    assert refused(dry_run("cases")) == expected
    connection.connection.execute("ROLLBACK")
    assert dry_run("cases").code == 0


def test_refuses_a_session_that_is_read_only(base: Cases) -> None:
    connection.connection.execute("SET default_transaction_read_only = on")
    try:
        assert refused(dry_run("cases")) == (
            "The session on 'default' is read-only (default_transaction_read_only), so migrate "
            "itself would fail; connect as a role, or with OPTIONS, that may write."
        )
    finally:
        connection.connection.execute("SET default_transaction_read_only = off")


def test_refuses_a_replica(own_server: OwnServer, base: Cases) -> None:
    signal = own_server.data / "standby.signal"
    signal.touch()
    try:
        # A standby needs no less than its primary has had.
        with own_server.started(max_prepared_transactions=2):
            assert refused(dry_run("cases")) == (
                "The database 'default' is a replica, which takes no writes; run against its "
                "primary or a copy."
            )
    finally:
        signal.unlink(missing_ok=True)


# Room for locks.

TINY: dict[str, Any] = {
    "max_connections": 6,
    "max_locks_per_transaction": 10,
    "max_worker_processes": 0,
    "max_wal_senders": 0,
    "autovacuum": "off",
}


def wide(count: int) -> list[Operation]:
    return [
        CreateModel(f"Wide{i}", [ID, ("n", models.CharField(max_length=9, unique=True))])
        for i in range(count)
    ]


def test_refuses_a_plan_that_needs_more_locks_than_there_is_room_for(
    own_server: OwnServer, cases: Cases
) -> None:
    cases.add("0001_wide", *wide(60))
    with own_server.started(**TINY):
        line = refused(dry_run("cases"))
        tables = own_server.query("SELECT count(*) FROM pg_class WHERE oid >= 16384")

    assert line.startswith("The plan needs about 36")
    assert line.endswith(
        "; raise max_locks_per_transaction (now 10), run the plan in parts (migrate_dryrun "
        "app_label migration), or pass --clone."
    )
    assert tables == [(0,)]


def test_the_same_plan_passes_where_there_is_room(own_server: OwnServer, cases: Cases) -> None:
    cases.add("0001_wide", *wide(60))
    with own_server.started(**{**TINY, "max_locks_per_transaction": 64}):
        locks = in_json("cases")["preflight"]["locks"]

    assert 350 < locks["needed"] < locks["capacity"] - locks["taken"]


def test_out_of_locks_in_the_midst_is_not_the_fault_of_the_migration(
    own_server: OwnServer, cases: Cases
) -> None:
    cases.add("0001_before", CreateModel("A", [ID]))
    cases.add("0002_many", python(make_tables))
    cases.add("0003_after", CreateModel("B", [ID]))
    with own_server.started(**TINY):
        ran = dry_run("cases")
        document = in_json("cases", code=2)
        tables = own_server.query("SELECT count(*) FROM pg_class WHERE oid >= 16384")

    assert ran.code == 2
    assert "Traceback" not in ran.out + ran.err
    assert (
        "out of shared memory: the server's lock table is full, as one transaction holds the "
        "locks of the whole plan. That is not the migration's fault; raise "
        "max_locks_per_transaction, run the plan in parts (migrate_dryrun app_label migration), "
        "or pass --clone."
    ) in " ".join(ran.out.split())
    assert [m["outcome"] for m in document["migrations"]] == ["passed", "not_run", "not_run"]
    assert tables == [(0,)]


def make_tables(apps: Any, editor: Any) -> None:
    with editor.connection.cursor() as cursor:
        for number in range(2000):
            cursor.execute(f"CREATE TABLE dry_many_{number} (id integer PRIMARY KEY)")


def test_the_estimate_is_near_what_is_held(base: Cases) -> None:
    """Counted as objects, of which a lock table has one entry each."""
    held: list[int] = []
    name = models.CharField(max_length=50, unique=True)
    fields: list[tuple[str, models.Field[Any, Any]]] = [ID, ("name", name), ("a", FK)]
    base.add(
        "0002_case",
        *[CreateModel(f"M{i}", fields) for i in range(20)],
        *[AddField(f"m{i}", "x", models.IntegerField(default=1, db_index=True)) for i in range(20)],
        *[AlterField(f"m{i}", "x", models.BigIntegerField(default=1)) for i in range(10)],
        *[DeleteModel(f"M{i}") for i in range(5)],
    )
    base.add("0003_count", python(lambda: held.append(query(OBJECTS)[0][0])))

    needed = preflight()["locks"]["needed"]

    assert 0.7 * held[0] < needed < 1.5 * held[0]


OBJECTS = (
    "SELECT count(DISTINCT (locktype, relation, transactionid::text, classid, objid, objsubid))"
    " FROM pg_locks WHERE pid = pg_backend_pid()"
)


# One migration by itself.


def test_the_executor_looks_ahead_as_well(base: Cases, settings: Settings) -> None:
    settings.CONFITURE = {"DRY_RUN": {"MAX_DEAD_SPACE": "0kB"}}
    query("INSERT INTO cases_a (number) SELECT i FROM generate_series(1, 100) i RETURNING 1")

    with pytest.raises(DryRunRefused, match=r"The plan would leave about .* of it in cases_a"):
        DryRunExecutor().run(connection, migration(runs("UPDATE cases_a SET number = 2")))
