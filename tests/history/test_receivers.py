"""Real migrations are recorded as they end, and never stopped by their record."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from django.apps import apps
from django.core.management import call_command
from django.db import DatabaseError, connection, connections, migrations, models
from django.db.migrations.migration import Migration
from pytest_django import Settings

from django_confiture import RunHook
from tests.cases.migrations_on_disk import Cases, query
from tests.support import recording
from tests.support.dry_run import plain_connection
from tests.support.history import installed, remove
from tests.support.logs import events, extra
from tests.support.sessions import holding

if TYPE_CHECKING:
    from django_confiture.history.models import (
        HookExecution,
        MigrationExecution,
        StatementExecution,
    )

DJANGOS_OWN = 'INSERT INTO "django_migrations"'
CREATE = "CREATE TABLE cases_row (id integer PRIMARY KEY, name text)"


@pytest.fixture(autouse=True)
def _settings(settings: Settings) -> None:
    settings.CONFITURE = {"ENTRY_POINTS": False}


def rows() -> list[MigrationExecution]:
    model = apps.get_model("confiture_history", "MigrationExecution")
    return list(model.objects.order_by("number"))


def only() -> MigrationExecution:
    (row,) = rows()
    return row


def statements(row: MigrationExecution) -> list[tuple[int | None, str, int, int | None]]:
    found: list[StatementExecution] = list(row.statements.all())
    assert all(each.duration_ms >= 0 for each in found)
    return [
        (each.operation, each.sql, each.executions, each.rows)
        for each in found
        if DJANGOS_OWN not in each.sql
    ]


def hooks(row: MigrationExecution) -> list[tuple[str, str, str, int, str]]:
    found: list[HookExecution] = list(row.hooks.all())
    return [(each.hook, each.phase, each.outcome, each.rows, each.error_type) for each in found]


def warnings(caplog: pytest.LogCaptureFixture) -> list[dict[str, Any]]:
    return [
        extra(record)
        for record in caplog.records
        if record.name == "django_confiture.history" and record.levelname == "WARNING"
    ]


def fill(apps: Any, editor: Any) -> None:
    with editor.connection.cursor() as cursor:
        for number in range(10):
            cursor.execute("INSERT INTO cases_row VALUES (%s, %s)", [number, "secret"])


@pytest.mark.parametrize("atomic", [True, False], ids=["atomic", "non-atomic"])
def test_a_migration(history: None, cases: Cases, atomic: bool) -> None:
    cases.add(
        "0001_fill",
        migrations.RunSQL(CREATE),
        migrations.SeparateDatabaseAndState([migrations.RunPython(fill)]),
        migrations.RunSQL("UPDATE cases_row SET name = 'hidden' WHERE id < 7"),
        atomic=atomic,
    )
    before = list(connection.execute_wrappers)
    cases.migrate()
    row = only()
    assert str(row) == "cases.0001_fill on default: completed"
    assert (row.number, row.direction, row.error_type, row.attempts) == (1, "forward", "", 1)
    assert row.os_user
    assert row.host
    assert statements(row) == [
        (0, "CREATE TABLE cases_row (id integer PRIMARY KEY, name text)", 1, None),
        (1, "INSERT INTO cases_row VALUES (%s)", 10, 10),
        (2, "UPDATE cases_row SET name = ? WHERE id < ?", 1, 7),
    ]
    assert row.duration_ms >= sum(each.duration_ms for each in row.statements.all())
    assert connection.execute_wrappers == before


def test_deferred_statements_belong_to_no_operation(history: None, cases: Cases) -> None:
    cases.add(
        "0001_tables",
        migrations.CreateModel("One", [("id", models.AutoField(primary_key=True))]),
        migrations.CreateModel(
            "Two",
            [
                ("id", models.AutoField(primary_key=True)),
                ("one", models.ForeignKey("cases.One", models.CASCADE)),
            ],
        ),
    )
    cases.migrate()
    found = [(operation, sql.split()[0]) for operation, sql, *_ in statements(only())]
    assert found[:2] == [(0, "CREATE"), (1, "CREATE")]
    assert {operation for operation, _ in found[2:]} == {None}
    assert len(found) > 2


def test_backward(history: None, cases: Cases) -> None:
    cases.add("0001_table", migrations.RunSQL(CREATE, "DROP TABLE cases_row"))
    cases.migrate()
    cases.migrate("zero")
    _, row = rows()
    assert (row.number, row.direction, row.outcome) == (2, "backward", "completed")
    assert statements(row) == [(0, "DROP TABLE cases_row", 1, None)]


@pytest.mark.parametrize("atomic", [True, False], ids=["atomic", "non-atomic"])
def test_a_failure_is_recorded_after_the_rollback(
    history: None, cases: Cases, atomic: bool
) -> None:
    fails = "INSERT INTO cases_row VALUES (1, 'my secret'), (1, 'other')"
    cases.add("0001_fails", migrations.RunSQL(CREATE), migrations.RunSQL(fails), atomic=atomic)
    with pytest.raises(DatabaseError):
        cases.migrate()
    row = only()
    assert (row.outcome, row.error_type) == ("failed", "IntegrityError (23505)")
    assert statements(row)[1] == (1, "INSERT INTO cases_row VALUES (?)", 1, None)
    assert "secret" not in str(query("SELECT * FROM confiture_history_statementexecution"))
    assert connection.execute_wrappers == []


def test_many_texts_are_kept_as_one(
    history: None, cases: Cases, monkeypatch: pytest.MonkeyPatch
) -> None:
    from django_confiture.history import run_recorder

    monkeypatch.setattr(run_recorder, "MOST_TEXTS", 3)

    def select(apps: Any, editor: Any) -> None:
        with editor.connection.cursor() as cursor:
            for number in range(10):
                cursor.execute(
                    psycopg.sql.SQL("SELECT 1 AS {}").format(
                        psycopg.sql.Identifier(f"column {number}")
                    )
                )
            cursor.execute(b"SELECT 2 AS bytes")

    cases.add("0001_many", migrations.RunPython(select))
    cases.migrate()
    assert statements(only()) == [
        *((0, f'SELECT ? AS "column {number}"', 1, 1) for number in range(3)),
        (None, "(other statements)", 9, 9),  # with Django's own
    ]


def test_a_text_that_runs_often(history: None, cases: Cases) -> None:
    def select(apps: Any, editor: Any) -> None:
        with editor.connection.cursor() as cursor:
            for number in range(250):
                cursor.execute("SELECT %s", [number])

    cases.add("0001_often", *(migrations.RunPython(select) for _ in range(2)))
    cases.migrate()
    first, second = statements(only())
    assert (first[0], second[0]) == (0, 1)
    assert first[2] + second[2] == 500
    assert 250 <= first[2] < 350


def test_a_retry_counts_once(history: None, cases: Cases, settings: Settings) -> None:
    settings.CONFITURE = {
        "MIGRATE": {"LOCK_TIMEOUT": "50ms", "LOCK_RETRIES": 20, "RETRY_DELAY": "50ms"}
    }
    query_table = "LOCK TABLE recording_log"
    cases.add("0001_waits", migrations.RunSQL(CREATE), migrations.RunSQL(query_table))
    with recording.recording(), holding(query_table, waited_for_s=1):
        cases.migrate()
    row = only()
    assert row.attempts > 1
    assert row.duration_ms > 200
    assert [(sql, times) for _, sql, times, _ in statements(row)] == [
        (CREATE, 1),
        (query_table, 1),
    ]


def test_hooks(history: None, cases: Cases, settings: Settings) -> None:
    settings.CONFITURE = {
        "PHASES": {
            "BEFORE_DDL": [
                {"HOOK": "tests.support.recording.Record", "OPTIONS": {"name": "first"}}
            ],
            "AFTER_VALIDATION": [
                {"HOOK": "tests.support.recording.Record", "OPTIONS": {"name": "veto"}}
            ],
            "ON_ERROR": [{"HOOK": "tests.support.recording.Record", "OPTIONS": {"name": "tell"}}],
        }
    }
    cases.add(
        "0001_hooks", RunHook("tests.support.recording.ForwardRecord", options={"name": "in file"})
    )
    with recording.recording():
        cases.migrate()
        recording.fails["veto"] = "raise"
        with pytest.raises(Exception, match="veto was told to fail"):
            cases.migrate("zero")
    first, second = rows()
    assert hooks(first) == [
        ("Record", "BEFORE_DDL", "completed", 1, ""),
        ("ForwardRecord", "BEFORE_DDL", "completed", 1, ""),
        ("Record", "AFTER_VALIDATION", "completed", 1, ""),
    ]
    assert second.outcome == "failed"
    assert hooks(second) == [
        ("Record", "BEFORE_DDL", "completed", 1, ""),
        ("ForwardRecord", "BEFORE_DDL", "skipped", 0, ""),
        ("Record", "AFTER_VALIDATION", "failed", 0, "ValueError"),
        ("Record", "ON_ERROR", "completed", 1, ""),
    ]


@pytest.mark.django_db(transaction=True, databases=["default", "other"])
def test_another_database(
    history: None, cases: Cases, both_databases: None, caplog: pytest.LogCaptureFixture
) -> None:
    """One ledger for all, where the routers put it."""
    cases.add("0001_table", migrations.RunSQL(CREATE, "DROP TABLE cases_row"))
    try:
        cases.migrate(database="other")
    finally:
        cases.migrate("zero", database="other")
    assert [(row.database, row.direction) for row in rows()] == [
        ("other", "forward"),
        ("other", "backward"),
    ]
    assert warnings(caplog) == []


def test_each_record_is_logged(
    history: None, cases: Cases, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "django_confiture")
    cases.add("0001_empty")
    cases.migrate()
    assert events(caplog, "recorded") == [
        (
            "recorded",
            {"migration": "0001_empty", "app_label": "cases", "number": 1, "hash": only().hash},
        )
    ]


# What is not recorded.


def test_dry_runs(history: None, cases: Cases) -> None:
    cases.add("0001_table", migrations.RunSQL(CREATE))
    call_command("migrate_dryrun", "cases", verbosity=0, output=Path("/dev/null"))
    assert rows() == []
    assert connection.execute_wrappers == []


def test_the_creation_of_a_test_database(history: None, cases: Cases) -> None:
    cases.add("0001_table", migrations.RunSQL(CREATE))
    creation = connection.creation

    class Creation(type(creation)):  # type: ignore[misc]
        def create_test_db(self) -> None:
            cases.migrate()

    Creation(connection).create_test_db()
    assert cases.applied() == {"0001_table"}
    assert rows() == []


# What may go wrong.


def test_the_first_migrations_of_the_ledger_warn_of_nothing(
    transactional_db: None, caplog: pytest.LogCaptureFixture
) -> None:
    with installed():
        try:
            call_command("migrate", "confiture_history", verbosity=0)
            assert warnings(caplog) == []
            assert next(row.name for row in rows()) == "0001_initial"
        finally:
            remove()


RUNS_BEFORE_THE_LEDGER = """
from django.db import migrations

class Migration(migrations.Migration):
    run_before = [("confiture_history", "0001_initial")]
"""


def test_a_plan_that_also_makes_the_ledger_warns_of_nothing(
    transactional_db: None, cases: Cases, caplog: pytest.LogCaptureFixture
) -> None:
    cases.write("0001_before", RUNS_BEFORE_THE_LEDGER)
    with installed():
        try:
            call_command("migrate", "confiture_history", verbosity=0)
            assert warnings(caplog) == []
            assert [row.name for row in rows()][:2] == ["0001_before", "0001_initial"]
        finally:
            remove()


def test_without_its_tables_it_waits(
    transactional_db: None, cases: Cases, caplog: pytest.LogCaptureFixture
) -> None:
    """The first migrate makes them, and other migrations run before."""
    cases.add("0001_before", migrations.RunSQL(CREATE))
    cases.add("0002_before")
    with installed():
        try:
            cases.migrate()
            (facts,) = warnings(caplog)
            assert facts == {
                "what": "a migration so far",
                "migration": "0001_before",
                "app_label": "cases",
                "error": "there is no table confiture_history_migrationexecution in 'default':"
                " manage.py migrate confiture_history",
            }
            call_command("migrate", "confiture_history", verbosity=0)
            assert [(row.number, row.app_label, row.name) for row in rows()] == [
                (1, "cases", "0001_before"),
                (2, "cases", "0002_before"),
                (3, "confiture_history", "0001_initial"),
                (4, "confiture_history", "0002_dryrun_plan"),
                (5, "confiture_history", "0003_journal_and_blockers"),
                (6, "confiture_history", "0004_migrationexecution_source_hash"),
            ]
        finally:
            remove()


def test_when_it_cannot_write(
    history: None, cases: Cases, caplog: pytest.LogCaptureFixture
) -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            "ALTER TABLE confiture_history_migrationexecution ADD CHECK (number < 0) NOT VALID"
        )
    cases.add("0001_table", migrations.RunSQL(CREATE))
    cases.add("0002_empty")
    cases.migrate()
    assert cases.applied() == {"0001_table", "0002_empty"}
    (facts,) = warnings(caplog)  # once
    assert facts["what"] == "a migration"
    assert facts["error"].startswith("IntegrityError: new row for relation")
    assert f"The migration history lacks a migration: {facts['error']}" in caplog.messages
    assert rows() == []


def test_when_the_ledger_is_locked(
    history: None, cases: Cases, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    from django_confiture.history import ledger

    monkeypatch.setitem(ledger.PATIENCE, "lock_timeout", "50ms")
    cases.add("0001_table", migrations.RunSQL(CREATE))
    with plain_connection() as other, other.transaction():
        other.execute("LOCK TABLE confiture_history_ledgerhead")
        cases.migrate()
    assert cases.applied() == {"0001_table"}
    (facts,) = warnings(caplog)
    assert "lock timeout" in facts["error"]
    assert query("SHOW lock_timeout") == [("0",)]


def test_inside_a_transaction(history: None, cases: Cases) -> None:
    """As in a TestCase: its timeouts are left alone, and it is rolled back with the rest."""
    from django.db import transaction

    cases.add("0001_table", migrations.RunSQL(CREATE))
    with transaction.atomic():
        cases.migrate()
        assert only().name == "0001_table"
        assert query("SHOW lock_timeout") == [("0",)]
        transaction.set_rollback(True)
    assert rows() == []


def test_a_cursor_that_misbehaves(
    history: None, cases: Cases, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    from django_confiture.history import run_recorder

    def fail(*args: object) -> None:
        raise RuntimeError("of ours")

    monkeypatch.setattr(run_recorder.Run, "_operation", fail)
    cases.add("0001_table", migrations.RunSQL(CREATE))
    cases.migrate()
    assert cases.applied() == {"0001_table"}
    (facts,) = warnings(caplog)
    assert (facts["what"], facts["error"]) == ("a statement", "RuntimeError: of ours")
    assert statements(only()) == []


def test_nothing_of_django_is_patched(history: None, cases: Cases) -> None:
    functions = (Migration.apply, Migration.unapply, connections["default"].__class__.cursor)
    seen = []

    def look(apps: Any, editor: Any) -> None:
        now = (Migration.apply, Migration.unapply, connections["default"].__class__.cursor)
        seen.append(now == functions)
        assert len(editor.connection.execute_wrappers) == 1

    cases.add("0001_looks", migrations.RunPython(look))
    cases.migrate()
    assert seen == [True]


def test_an_os_user_without_a_name(monkeypatch: pytest.MonkeyPatch) -> None:
    with installed():
        from django_confiture.history import run_recorder

        def no_user() -> str:
            raise KeyError("uid not found")

        monkeypatch.setattr("getpass.getuser", no_user)
        run_recorder.os_user.cache_clear()
        assert run_recorder.os_user() == ""
        run_recorder.os_user.cache_clear()


def test_a_migration_that_calls_migrate_is_recorded_as_well(history: None, cases: Cases) -> None:
    def calls(apps: Any, schema_editor: Any) -> None:
        call_command("migrate", "admin", "0001", verbosity=0)

    hook = RunHook("tests.support.recording.Record", options={"name": "outer"})
    cases.add("0001_outer", migrations.RunPython(calls), hook)
    cases.add("0002_later")
    with recording.recording():
        cases.migrate()
    call_command("migrate", "admin", "zero", verbosity=0)
    inner, outer, later, _undone = rows()
    assert (inner.app_label, inner.name) == ("admin", "0001_initial")
    assert (outer.name, later.name) == ("0001_outer", "0002_later")
    assert [each.hook for each in outer.hooks.all()] == ["Record"]
    assert list(inner.hooks.all()) == []
    assert "django_admin_log" in statements(inner)[0][1]
