"""Which existing tables a plan can change: those that it names, and what hangs on them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from django.db import connection, models
from django.db.migrations import AddField, AlterField, Migration, RunPython
from django.db.migrations.operations.base import Operation
from django.db.migrations.state import ModelState, ProjectState

from django_confiture import Hook, HookContext, HookPhase, HookResult
from django_confiture.dry_run.plan.reach import reached
from django_confiture.dry_run.plan.reader import read_plan
from django_confiture.dry_run.server.side_channel import Session
from django_confiture.operations import RunHook
from tests.support.dry_run import migration, runs

TABLES = """
    CREATE TABLE cases_book (id bigserial PRIMARY KEY, number integer) PARTITION BY RANGE (id);
    CREATE TABLE book_early PARTITION OF cases_book FOR VALUES FROM (1) TO (10)
        PARTITION BY RANGE (id);
    CREATE TABLE book_first PARTITION OF book_early FOR VALUES FROM (1) TO (5);
    CREATE TABLE refers (id bigint, book bigint REFERENCES cases_book);
    CREATE VIEW seen AS SELECT number FROM cases_book;
    CREATE VIEW seen_again AS SELECT * FROM seen;
    CREATE TABLE unrelated (id bigserial PRIMARY KEY);
    CREATE VIEW unrelated_seen AS SELECT * FROM unrelated;
"""
ADD = AddField("Book", "more", models.TextField(null=True))


class DoesNothing(Hook):
    """Could do anything."""

    phase = HookPhase.AFTER_DDL

    def execute(self, conn: object, context: HookContext) -> HookResult:
        return HookResult("AFTER_DDL", "DoesNothing")


class OwnApply(Migration):
    """Runs whatever it likes."""

    def apply(self, *args: object, **kwargs: object) -> ProjectState:
        raise NotImplementedError


@pytest.fixture
def session() -> Iterator[Session]:
    connection.ensure_connection()
    found = Session(connection.connection)
    found.query("BEGIN")
    found.script(TABLES)
    yield found
    found.query("ROLLBACK")


def tables(session: Session, step: Migration) -> set[str] | None:
    """Return the names of the tables, views and sequences that a migration can change."""
    state = ProjectState()
    fields: list[tuple[str, models.Field[Any, Any]]] = [
        ("id", models.BigAutoField(primary_key=True)),
        ("number", models.IntegerField()),
    ]
    state.add_model(ModelState("cases", "Book", fields))
    found = reached(read_plan(connection, state, [(step, True)], backwards=False), session)
    if found is None:
        return None
    rows = session.query(
        "SELECT relname FROM pg_class WHERE oid = ANY ($1::oid[]) AND relkind NOT IN ('i', 'I')",
        ["{" + ",".join(map(str, found)) + "}"],
    )
    return {str(name) for (name,) in rows}


@pytest.mark.django_db
@pytest.mark.parametrize("operation", [ADD, AlterField("Book", "number", models.BigIntegerField())])
def test_what_operations_name_and_what_hangs_on_it(session: Session, operation: Operation) -> None:
    assert tables(session, migration(operation)) == {
        "cases_book",
        "cases_book_id_seq",
        "book_early",
        "book_first",
        "refers",
        "seen",
        "seen_again",
    }


@pytest.mark.django_db
@pytest.mark.parametrize(
    "step",
    [
        migration(ADD, runs("SELECT 1")),
        migration(ADD, RunPython(lambda _apps, _editor: None)),
        migration(ADD, RunHook(DoesNothing)),
        OwnApply("0001_own", "cases"),
    ],
    ids=["SQL", "Python", "a hook", "its own apply()"],
)
def test_code_can_change_any_table(session: Session, step: Migration) -> None:
    assert tables(session, step) is None


@pytest.mark.django_db
def test_an_event_trigger_can_change_any_table(session: Session) -> None:
    session.script(
        "CREATE FUNCTION told() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN END';"
        "CREATE EVENT TRIGGER told ON ddl_command_end EXECUTE FUNCTION told()"
    )
    assert tables(session, migration(ADD)) is None
    session.query("ALTER EVENT TRIGGER told DISABLE")
    assert tables(session, migration(ADD)) is not None
