"""What the tests of the dry run share: tables to harm, migrations, proof that all is as it was."""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from typing import Any

import psycopg
import pytest
from django.core.management.sql import emit_pre_migrate_signal
from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.migrations import Migration, RunPython, RunSQL
from django.db.migrations.executor import MigrationExecutor
from django.db.migrations.operations.base import Operation
from django.db.migrations.state import ProjectState, StateApps
from django.test.utils import setup_databases, teardown_databases
from psycopg import sql
from pytest_django import DjangoDbBlocker as Blocker

from django_confiture import DryRunExecutor, MigrationError, signals
from django_confiture.dry_run.judge import Known
from django_confiture.dry_run.migration_executor import RehearsalExecutor
from django_confiture.dry_run.rehearsal import Rehearsal
from django_confiture.dry_run.results import (
    MigrationResult,
    OperationResult,
    Report,
    StatementResult,
    TableResult,
)
from django_confiture.dry_run.server.driver import CONNECTION_STATE, PATCHED
from django_confiture.dry_run.transaction_rehearsal import transaction_rehearsal
from django_confiture.production import ProductionStats
from django_confiture.reports import render
from tests.support.published_schema import errors

ALIASES = ("default", "other")

TABLES = """
    CREATE TABLE dry_parent (id integer PRIMARY KEY, name text);
    CREATE TABLE dry_child (
        id integer PRIMARY KEY,
        parent_id integer NOT NULL REFERENCES dry_parent ON DELETE CASCADE
            DEFERRABLE INITIALLY DEFERRED
    );
    CREATE TABLE dry_row (
        id integer PRIMARY KEY,
        name text NOT NULL,
        number integer,
        code varchar(50)
    );
    INSERT INTO dry_parent SELECT i, 'parent ' || i FROM generate_series(1, 10) i;
    INSERT INTO dry_child SELECT i, 1 + i % 10 FROM generate_series(1, 100) i;
    INSERT INTO dry_row SELECT i, 'name ' || i, i, 'code' FROM generate_series(1, 1000) i;
    ANALYZE dry_parent, dry_child, dry_row;
    CREATE PROCEDURE dry_commits() LANGUAGE plpgsql AS
        $$ BEGIN UPDATE dry_row SET name = 'LEAK'; COMMIT; END $$;
"""

_CLEAN_UP = """
    SELECT format('DROP TABLE IF EXISTS %I CASCADE', relname) FROM pg_class
      WHERE relkind IN ('r', 'p') AND relname ~ '^(dry|cases)_' AND relpersistence = 'p'
    UNION ALL
    SELECT format('DROP %s %s', CASE prokind WHEN 'p' THEN 'PROCEDURE' ELSE 'FUNCTION' END,
        oid::regprocedure) FROM pg_proc WHERE proname ~ '^dry_'
    UNION ALL
    SELECT format('DROP TYPE %I', typname) FROM pg_type WHERE typname ~ '^dry_' AND typtype = 'e'
    UNION ALL
    SELECT 'DELETE FROM django_migrations WHERE app = ''cases'''
      WHERE to_regclass('django_migrations') IS NOT NULL
"""


@contextmanager
def plain_connection(alias: str = "default") -> Iterator[psycopg.Connection[Any]]:
    """Open a connection that Django and the dry run know nothing of."""
    with closing(psycopg.connect(**parameters(alias), autocommit=True)) as connection:
        yield connection


def parameters(alias: str = "default") -> dict[str, Any]:
    """Return libpq's parameters of an alias."""
    known = connections[alias].get_connection_params()
    names = ("host", "port", "user", "password", "dbname")
    return {name: known[name] for name in names if name in known}


def clean_up(alias: str) -> None:
    with plain_connection(alias) as connection:
        for (statement,) in connection.execute(_CLEAN_UP).fetchall():
            connection.execute(statement)


class _Tables:
    """The tables of :data:`TABLES` in both databases, created again if a test has changed them."""

    def __init__(self) -> None:
        self.observers = {
            alias: psycopg.connect(**parameters(alias), autocommit=True) for alias in ALIASES
        }
        self.known: dict[str, Any] = {}
        """What "untouched" has seen, as long as nothing else may have changed it since."""

    def make(self) -> None:
        """Create the tables and every connection again."""
        self.known = {}
        for alias, observer in self.observers.items():
            connections[alias].close()
            clean_up(alias)
            observer.execute(TABLES)

    def close(self) -> None:
        """Drop the tables, and close every connection."""
        for alias, observer in self.observers.items():
            connections[alias].close()
            clean_up(alias)
            observer.close()

    def everything(self) -> dict[str, Any]:
        """Return all that a dry run must leave as it was."""
        return {
            **{f"database {alias}": fingerprint(self.observers[alias]) for alias in ALIASES},
            **{f"connection {alias}": connection_state(alias) for alias in ALIASES},
            "process": process_state(),
        }


@pytest.fixture(scope="session")
def both_databases(django_db_setup: None, django_db_blocker: Blocker) -> Iterator[None]:
    """Create the test databases that no test with the mark "django_db" has asked for."""
    wrappers: list[Any] = [connections[alias] for alias in ALIASES]
    missing: Any = [
        wrapper.alias
        for wrapper in wrappers
        if wrapper.settings_dict["NAME"] != wrapper.creation._get_test_db_name()
    ]
    for wrapper in wrappers:  # "other" would wait for "default", which may be there already
        wrapper.settings_dict["TEST"]["DEPENDENCIES"] = []
    with django_db_blocker.unblock():
        created = setup_databases(verbosity=0, interactive=False, aliases=missing)
    yield
    with django_db_blocker.unblock():
        teardown_databases(created, verbosity=0)


@pytest.fixture(scope="module")
def scratch_tables(both_databases: None, django_db_blocker: Blocker) -> Iterator[_Tables]:
    """Keep the tables for as long as a module needs them."""
    with django_db_blocker.unblock():
        tables = _Tables()
        yield tables
        tables.close()


@pytest.fixture
def scratch(scratch_tables: _Tables) -> Iterator[None]:
    """Give the tables of :data:`TABLES` in both databases; every connection is in autocommit."""
    scratch_tables.make()
    yield
    for alias in ALIASES:
        connections[alias].close()


@pytest.fixture
def untouched(scratch_tables: _Tables) -> Iterator[None]:
    """Give the tables, too; fail if a test leaves databases, connections or classes changed."""
    if not scratch_tables.known:
        scratch_tables.make()
    before = scratch_tables.known or scratch_tables.everything()
    scratch_tables.known = {}
    yield
    assert scratch_tables.everything() == before
    scratch_tables.known = before


# The proof that nothing is left.


def fingerprint(connection: psycopg.Connection[Any]) -> dict[str, Any]:
    """Return a checksum of every row, and every object of the schema, as a connection sees them."""
    found: dict[str, Any] = {
        name: connection.execute(query).fetchall() for name, query in _CATALOG.items()
    }
    tables = connection.execute(
        "SELECT n.nspname, relname FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace"
        " WHERE relkind IN ('r', 'm') AND c.oid >= 16384 AND n.nspname !~ '^pg_' ORDER BY 1, 2"
    ).fetchall()
    for schema, name in tables:
        query = sql.SQL(
            "SELECT count(*), md5(string_agg(t::text, '|' ORDER BY t::text)) FROM ONLY {} t"
        ).format(sql.Identifier(schema, name))
        found[f"rows of {schema}.{name}"] = connection.execute(query).fetchone()
    return found


_CATALOG = {
    "relations": """
        SELECT c.oid::regclass::text, relkind, relfilenode, reloptions, relpersistence,
               relhastriggers
        FROM pg_class c WHERE c.oid >= 16384 AND relnamespace::regnamespace::text !~ '^pg_'
        ORDER BY c.oid""",
    "columns": """
        SELECT attrelid::regclass::text, attname, atttypid::regtype::text, atttypmod, attnotnull,
               pg_get_expr(adbin, adrelid)
        FROM pg_attribute a JOIN pg_class c ON c.oid = attrelid
        LEFT JOIN pg_attrdef ON adrelid = attrelid AND adnum = attnum
        WHERE attrelid >= 16384 AND attnum > 0 AND NOT attisdropped AND relkind IN ('r', 'p', 'v')
          AND relnamespace::regnamespace::text !~ '^pg_'
        ORDER BY attrelid, attnum""",
    "constraints": """
        SELECT conrelid::regclass::text, conname, pg_get_constraintdef(oid), convalidated
        FROM pg_constraint WHERE oid >= 16384 ORDER BY oid""",
    "functions": """
        SELECT oid::regprocedure::text, prosrc FROM pg_proc WHERE oid >= 16384 ORDER BY oid""",
    "types": "SELECT typname FROM pg_type WHERE oid >= 16384 ORDER BY oid",
    "labels": "SELECT enumtypid::regtype::text, enumlabel FROM pg_enum ORDER BY oid",
    "prepared": "SELECT gid FROM pg_prepared_xacts WHERE database = current_database()",
    "others": """
        SELECT pid, state FROM pg_stat_activity WHERE datname = current_database()
          AND state LIKE 'idle in transaction%'""",
    "advisory": "SELECT objid FROM pg_locks WHERE locktype = 'advisory' AND database ="
    " (SELECT oid FROM pg_database WHERE datname = current_database())",
}


def connection_state(alias: str) -> dict[str, Any]:
    """Return what Django and the server know about a connection's transaction and settings."""
    wrapper: Any = connections[alias]
    wrapper.ensure_connection()
    raw = wrapper.connection
    status = raw.info.transaction_status.name
    with wrapper.cursor() as cursor:
        cursor.execute(
            "SELECT name, setting FROM pg_settings WHERE name IN ('lock_timeout', 'role',"
            " 'statement_timeout', 'application_name', 'client_connection_check_interval',"
            " 'default_transaction_read_only', 'transaction_read_only', 'search_path')"
        )
        settings = dict(cursor.fetchall())
    return {
        "status": status,
        "settings": settings,
        "shadows": sorted(name for name, value in vars(wrapper).items() if callable(value)),
        **{name: getattr(wrapper, name) for name in CONNECTION_STATE},
    }


def process_state() -> dict[str, Any]:
    """Return what a dry run patches while it is on."""
    patched = {
        str(each): vars(each.resolved_owner()).get(each.name, "inherited") for each in PATCHED
    }
    # A signal's id of a receiver is its object's id, so a new one of equal name is seen, too.
    receivers = {
        name: [key for key, *_rest in signal.receivers]
        for name, signal in vars(signals).items()
        if hasattr(signal, "receivers")
    }
    return {"patched": patched, "receivers": receivers}


# Migrations and what comes of them.

LEAK = "UPDATE dry_row SET name = 'LEAK'"
# In two parts, as the function would not be sent.
LOSES_THE_CONNECTION = (
    "DO $$ BEGIN EXECUTE 'SELECT pg_termi' || 'nate_backend(pg_backend_pid())'; END $$"
)
ENDED = "The transaction that was to be rolled back has ended"


def migration(
    *operations: Operation, atomic: bool = True, name: str = "0001_case", app: str = "cases"
) -> Migration:
    """Return a migration that is on no disk."""
    made: Migration = type(
        "Migration", (Migration,), {"operations": list(operations), "atomic": atomic}
    )(name, app)
    return made


def runs(script: str | list[Any]) -> RunSQL:
    return RunSQL(script, RunSQL.noop)


def python(code: Callable[..., object]) -> RunPython:
    """Return a ``RunPython`` whose function may take ``(apps, schema_editor)`` or nothing."""
    takes = len(inspect.signature(code).parameters)

    def run(apps: StateApps, editor: BaseDatabaseSchemaEditor) -> None:
        code(*(apps, editor)[:takes])

    return RunPython(run, RunPython.noop)


def executes(statement: Any, *args: Any, using: str = "default") -> RunPython:
    """Return a ``RunPython`` that executes one text with Django's cursor."""

    def code() -> None:
        with connections[using].cursor() as cursor:
            cursor.execute(statement, *args)

    return python(code)


Plan = list[tuple[Migration, bool]]


def rehearse(
    *migrations: Migration, using: str = "default", stats: ProductionStats | None = None
) -> Report:
    """Dry-run migrations one after the other and return the report, passed or failed."""
    wrapper = connections[using]
    rehearsal = transaction_rehearsal(wrapper, known=Known(stats))
    apply_all(rehearsal, wrapper, migrations)
    report = rehearsal.report()
    assert errors(json.loads(render(report, "json"))) == []
    return report


def apply_all(
    rehearsal: Rehearsal, wrapper: BaseDatabaseWrapper, migrations: Sequence[Migration]
) -> None:
    """Apply migrations in a rehearsal, as ``migrate`` does; an error is noted in it."""

    def begin(executor: RehearsalExecutor, plan: Plan) -> ProjectState:
        state = executor.project_state()
        emit_pre_migrate_signal(
            verbosity=0, interactive=False, db=wrapper.alias, apps=state.apps, plan=plan
        )
        return state

    _apply(rehearsal, wrapper, migrations, begin)


def apply_from(
    state: ProjectState,
    rehearsal: Rehearsal,
    wrapper: BaseDatabaseWrapper,
    migrations: Sequence[Migration],
) -> None:
    """Apply migrations that follow a state, with a look ahead; an error is noted."""

    def begin(executor: RehearsalExecutor, plan: Plan) -> ProjectState:
        now = state.clone()
        executor.look_ahead(plan, now)
        return now

    _apply(rehearsal, wrapper, migrations, begin)


def _apply(
    rehearsal: Rehearsal,
    wrapper: BaseDatabaseWrapper,
    migrations: Sequence[Migration],
    begin: Callable[[RehearsalExecutor, Plan], ProjectState],
) -> None:
    with rehearsal.open():
        executor = RehearsalExecutor(rehearsal, wrapper)
        plan = [(each, False) for each in migrations]
        rehearsal.planned(plan)
        for each in migrations:
            executor.record(each)
        state = begin(executor, plan)
        try:
            for each in migrations:
                state = executor.apply_migration(state, each)
        except Exception as error:  # noqa: BLE001
            rehearsal.failed(error)


def passed(*operations: Operation, atomic: bool = True) -> MigrationResult:
    """Dry-run one migration that is expected to pass."""
    report = rehearse(migration(*operations, atomic=atomic))
    (result,) = report.migrations
    assert result.outcome == "passed", result.error or report.error
    return result


def failed(*operations: Operation, atomic: bool = True) -> MigrationResult:
    """Dry-run one migration that is expected to fail."""
    (result,) = rehearse(migration(*operations, atomic=atomic)).migrations
    assert result.outcome == "failed"
    return result


def only_operation(*operations: Operation, atomic: bool = True) -> OperationResult:
    """Dry-run a migration of one operation."""
    (operation,) = passed(*operations, atomic=atomic).operations
    return operation


def only_statement(*operations: Operation, atomic: bool = True) -> StatementResult:
    """Dry-run a migration of one statement."""
    (statement,) = only_operation(*operations, atomic=atomic).statements
    return statement


def table(result: MigrationResult, name: str) -> TableResult:
    """Return what a migration did to one table."""
    (found,) = (each for each in result.tables if each.relation == name)
    return found


def for_real(*migrations: Migration, using: str = "default") -> str:
    """Apply migrations as ``migrate`` does; return ``""`` or the error."""
    wrapper = connections[using]
    executor: Any = MigrationExecutor(wrapper)
    state = executor._create_project_state(with_applied_migrations=True)
    try:
        for each in migrations:
            state = executor.apply_migration(state, each)
    except Exception as error:  # noqa: BLE001
        return f"{type(error).__name__}: {error}"
    return ""


def why_it_failed(*operations: Operation, atomic: bool = True) -> BaseException | None:
    """Rehearse one migration as a user does; return why it failed, None where it did not."""
    try:
        DryRunExecutor().run("default", migration(*operations, atomic=atomic))
    except MigrationError as error:
        return error
    return None


def check(error: BaseException | None, expected: str | None) -> None:
    """Without this, a dry run that never came to its migration would pass."""
    assert (error is None) is (expected is None), error
    assert expected is None or expected in str(error)
