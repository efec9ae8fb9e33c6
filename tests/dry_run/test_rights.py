"""What a role needs, and what one line says where it lacks that."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any

import psycopg
import pytest
from django.db import connection, models
from django.db.migrations import AddField, AddIndex, CreateModel, RunPython
from psycopg import sql

from django_confiture.dry_run.transactions.at_commit.enum_values import NO_COMMIT
from tests.cases.migrations_on_disk import Cases
from tests.dry_run.isolation.test_watchdog import wait_until_locked
from tests.management.test_migrate_dryrun import ID, Ran, dry_run, in_json
from tests.support.dry_run import parameters, runs

ROLE = "dry_role"
DATABASE = "dry_rights"

SERVER: dict[str, Any] = {}
"""How the tests themselves connect."""

_CLEAR = [f"DROP DATABASE IF EXISTS {DATABASE} WITH (FORCE)", f"DROP ROLE IF EXISTS {ROLE}"]


@contextmanager
def as_superuser(**other: Any) -> Iterator[psycopg.Connection[Any]]:
    """Connect past Django to the database of the test."""
    with closing(psycopg.connect(**{**SERVER, "dbname": DATABASE, **other})) as connected:
        connected.autocommit = True
        yield connected


@pytest.fixture
def role(cases: Cases) -> Iterator[Cases]:
    """Give "default" its own database, owned by a role that may nothing else."""
    SERVER.update(parameters())
    with as_superuser(dbname="postgres") as server:
        for statement in _CLEAR:
            server.execute(statement)
        server.execute(f"CREATE ROLE {ROLE} LOGIN")
        server.execute(
            sql.SQL("CREATE DATABASE {} OWNER {}").format(
                sql.Identifier(DATABASE), sql.Identifier(ROLE)
            )
        )
        before = connection.settings_dict
        connection.close()
        connection.settings_dict = {**before, "NAME": DATABASE, "USER": ROLE}
        try:
            yield cases
        finally:
            connection.close()
            connection.settings_dict = before
            for statement in _CLEAR:
                server.execute(statement)


def run(*statements: str) -> None:
    with as_superuser() as server:
        for statement in statements:
            server.execute(statement)


def refused(ran: Ran) -> str:
    assert (ran.code, ran.out) == (2, "")
    assert "Rehearsing" not in ran.err
    (line,) = ran.err.splitlines()
    return line.removeprefix("CommandError: ")


def give_away(role: str) -> None:
    """Let the role be no owner of the database, but of what Django has made in it."""
    run(
        f"ALTER DATABASE {DATABASE} OWNER TO CURRENT_USER",
        f"GRANT CREATE ON SCHEMA public TO {role}",
    )


STATE = CreateModel("A", [ID, ("number", models.IntegerField(null=True))])
ADD = AddField("a", "x", models.IntegerField(null=True))


def test_the_owner_of_the_database_may_do_everything(role: Cases) -> None:
    role.add("0001_a", STATE)
    role.migrate()
    role.add("0002_add", ADD, runs("UPDATE cases_a SET number = 1"))
    own = models.ForeignKey("cases.a", models.CASCADE)
    role.add("0003_new", CreateModel("B", [ID, ("a", own)]))

    document = in_json("cases", "--reverse")

    assert [each["outcome"] for each in document["migrations"]] == ["passed", "passed"]
    assert document["reverse"]["outcome"] == "same"
    assert [each["relation"] for each in document["preflight"]["tables"]] == ["cases_a"]
    assert document["preflight"]["yield_after_ms"] == 200


MOOD = runs("CREATE TYPE cases_mood AS ENUM ('ok')")
ADD_GOOD = runs("ALTER TYPE cases_mood ADD VALUE 'good'")
USE_GOOD = runs("SELECT 'good'::cases_mood")


@pytest.mark.parametrize(
    ("plan", "code"),
    [
        ([[MOOD], [ADD_GOOD], [USE_GOOD]], 2),
        ([[MOOD], [ADD_GOOD, USE_GOOD]], 1),
        pytest.param([[MOOD, ADD_GOOD, USE_GOOD]], 2, id="of one transaction"),
    ],
)
def test_an_enum_value_that_needs_a_commit(
    role: Cases, plan: list[list[Any]], code: int, request: pytest.FixtureRequest
) -> None:
    """The migration is not to blame for a catalog that the dry run may not write."""
    with as_superuser() as server:
        if request.node.callspec.id == "of one transaction" and server.info.server_version < 170000:
            code = 1  # for real as well
    for number, operations in enumerate(plan, start=1):
        role.add(f"000{number}_a", *operations)

    document = in_json("cases", code=code)

    assert document["migrations"][-1]["outcome"] == ("not_run" if code == 2 else "failed")
    assert document["migrations"][-1]["error"]["type"] == "UnsafeNewEnumValueUsage"
    assert document["warnings"] == ([NO_COMMIT] if code == 2 else [])


@pytest.mark.parametrize("busy", ["SELECT pg_sleep(5)", None])
def test_its_watchdog_ends_it(role: Cases, busy: str | None) -> None:
    """By a cancel where a statement runs, by a termination where Python does."""
    role.add("0001_a", STATE)
    role.migrate()
    waited = threading.Event()

    def hold(_apps: Any, editor: Any) -> None:
        if busy is None:
            waited.wait(5)
        else:
            editor.execute(busy)

    def wait(other: psycopg.Connection[Any]) -> None:
        wait_until_locked(other, "cases_a")
        other.execute("UPDATE cases_a SET number = 1")
        waited.set()

    role.add("0002_case", runs("LOCK TABLE cases_a IN ACCESS EXCLUSIVE MODE"), RunPython(hold))
    with as_superuser(application_name="victim") as other:
        victim = threading.Thread(target=wait, args=[other])
        victim.start()
        try:
            document = in_json("cases", code=4)
        finally:
            victim.join()

    (waiter,) = document["yielded_to"]
    assert (waiter["application"], waiter["relation"]) == ("victim", "cases_a")
    assert waiter["statement_kind"] == ""  # of another role's, a role sees no statement


def test_what_others_do_is_hidden(role: Cases) -> None:
    role.add("0001_a", STATE)
    role.migrate()
    role.add("0002_add", ADD)
    with as_superuser(application_name="others") as other:
        other.execute("BEGIN")
        other.execute("LOCK TABLE cases_a IN ROW SHARE MODE")
        found = in_json("cases", code=2)["preflight"]
        err = dry_run("cases").err

    assert (found["sessions"], found["hidden_sessions"]) == (1, 1)
    assert (found["longest"], found["oldest_transaction"]) == (None, None)
    assert (
        "  at work   1 other session on these tables\n"
        "            1 session of other roles, whose transactions this role can't see\n"
    ) in err


def test_the_right_to_temporary_tables_is_not_needed(role: Cases) -> None:
    role.add("0001_a", STATE)
    give_away(ROLE)
    run(f"REVOKE TEMPORARY ON DATABASE {DATABASE} FROM PUBLIC")

    assert dry_run("cases").code == 0


def test_without_the_right_to_create_tables(role: Cases) -> None:
    role.add("0001_a", STATE)
    role.migrate()
    give_away(ROLE)
    run(f"REVOKE CREATE ON SCHEMA public FROM {ROLE}, PUBLIC")
    role.add("0002_add", ADD)

    assert dry_run("cases").code == 0

    role.add(
        "0003_index", AddIndex("a", models.Index(fields=["id"], name="needs_the_right_as_well"))
    )
    role.add("0004_new", CreateModel("B", [ID]))
    document = in_json("cases", code=1)
    assert [each["outcome"] for each in document["migrations"]] == ["passed", "failed", "not_run"]
    error = document["migrations"][1]["error"]
    assert error["message"] == "permission denied for schema public"
    assert refused(in_an_empty_schema()) == (
        f"The role {ROLE} lacks the CREATE right on the schema empty, which django_migrations "
        f"needs; GRANT CREATE ON SCHEMA empty TO {ROLE}."
    )
    run('CREATE SCHEMA "My Schema"', f'GRANT USAGE ON SCHEMA "My Schema" TO {ROLE}')
    run(f"ALTER ROLE {ROLE} SET search_path = 'My Schema'")
    connection.close()
    assert refused(dry_run("cases")).endswith(f'GRANT CREATE ON SCHEMA "My Schema" TO {ROLE}.')
    run(f"ALTER ROLE {ROLE} SET search_path = nowhere")
    connection.close()
    assert refused(dry_run("cases")) == (
        "There is no schema to create tables in, which django_migrations needs; no schema of the "
        "search_path exists."
    )


def in_an_empty_schema() -> Ran:
    run(
        "CREATE SCHEMA empty",
        f"GRANT USAGE ON SCHEMA empty TO {ROLE}",
        f"ALTER ROLE {ROLE} SET search_path = empty",
    )
    connection.close()
    return dry_run("cases")


def test_a_migration_may_get_the_right_itself(role: Cases) -> None:
    give_away(ROLE)
    role.add("0001_schema", runs("CREATE SCHEMA own; SET search_path = own"))
    role.add("0002_new", CreateModel("B", [ID]))
    run(f"GRANT CREATE ON DATABASE {DATABASE} TO {ROLE}")
    connection.ensure_connection()

    assert in_json("cases")["outcome"] == "passed"


def test_a_table_of_others_is_named_by_the_statement_that_fails(role: Cases) -> None:
    role.add("0001_a", STATE)
    role.migrate()
    run("ALTER TABLE cases_a OWNER TO CURRENT_USER")
    role.add("0002_add", ADD)

    document = in_json("cases", code=1)
    ran = dry_run("cases")

    error = document["migrations"][0]["error"]
    assert error["type"] == "InsufficientPrivilege"
    assert error["message"] == "must be owner of table cases_a"
    assert error["statement"].startswith('ALTER TABLE "cases_a" ADD COLUMN "x"')
    assert "Traceback" not in ran.out + ran.err


def test_no_connection_for_the_watchdog_needs_consent(role: Cases) -> None:
    role.add("0001_a", STATE)
    run(f"ALTER ROLE {ROLE} CONNECTION LIMIT 1")

    line = refused(dry_run("cases"))

    assert line.startswith(
        "The watchdog, which ends the dry run when other sessions wait for it, got no connection ("
    )
    assert line.endswith(
        f'too many connections for role "{ROLE}"); free one, or pass --no-watchdog where no one '
        "else uses the database."
    )
    assert dry_run("cases", "--no-watchdog").code == 0


FORCED = """
    ALTER TABLE cases_a ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
    CREATE POLICY dry_few ON cases_a USING (number < 0)"""


@pytest.mark.parametrize(
    ("security", "change", "hidden"),
    [
        (FORCED, "UPDATE cases_a SET number = 2", True),
        (FORCED, "SELECT count(*) FROM cases_a", True),
        (FORCED, "ALTER TABLE cases_a ADD COLUMN x integer", False),
        ("ALTER TABLE cases_a ENABLE ROW LEVEL SECURITY", "UPDATE cases_a SET number = 2", False),
    ],
)
def test_rows_that_row_security_may_hide_are_named(
    role: Cases, security: str, change: str, hidden: bool
) -> None:
    role.add("0001_a", STATE, runs("INSERT INTO cases_a (number) VALUES (1)"))
    role.migrate()
    run(security)
    role.add("0002_change", runs(change))
    (migration,) = in_json("cases")["migrations"]
    warning = (
        f"Row security may hide rows of cases_a from {ROLE}: what reads or writes rows leaves "
        "those out, without an error."
    )
    assert migration["outcome"] == "passed"
    assert (warning in migration["warnings"]) is hidden
