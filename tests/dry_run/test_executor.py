"""``DryRunExecutor().run(conn, migration)``: which connections, which migrations, what it logs."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import psycopg
import pytest
from django.contrib.auth.models import Group
from django.core.exceptions import ImproperlyConfigured
from django.core.management import call_command
from django.db import OperationalError, connection, connections, models
from django.db.migrations import AddField, CreateModel, Migration
from django.db.migrations.loader import MigrationLoader
from psycopg.rows import dict_row
from pytest_django import Settings

from django_confiture import DryRunError, DryRunExecutor, DryRunResult
from django_confiture.dry_run import transaction_rehearsal
from django_confiture.exceptions import DryRunRefused, HookLookupError
from tests.cases.migrations_on_disk import Cases, query, table_exists
from tests.support.dry_run import (
    for_real,
    migration,
    parameters,
    plain_connection,
    python,
    runs,
)
from tests.support.logs import events

UPDATE = runs("UPDATE dry_row SET number = 1")
ID = ("id", models.BigAutoField(primary_key=True))


def run(conn: Any, *operations: Any, atomic: bool = True) -> DryRunResult:
    return DryRunExecutor().run(conn, migration(*operations, atomic=atomic, name="0007_rows"))


# The result.


def test_the_result(untouched: None) -> None:
    result = run(connection, UPDATE, runs("SELECT pg_sleep(0.05)"))

    assert (result.migration_name, result.migration_version) == ("0007_rows", "0007")
    assert result.success
    assert result.execution_time_ms >= 50
    assert result.rows_affected == 1000
    assert result.locked_tables == ["dry_row"]
    assert result.estimated_production_time_ms >= 50
    assert 0 <= result.confidence_percent <= 100
    assert result.stats["operations"] == 2
    assert result.stats["statements"] == 2
    assert result.stats["locks"] == {"dry_row": "RowExclusiveLock"}
    assert any("estimate" in warning for warning in result.warnings)


def test_what_only_reads_locks_nothing(untouched: None) -> None:
    assert run(connection, runs("SELECT count(*) FROM dry_row")).locked_tables == []


def test_what_could_not_be_rehearsed_is_a_warning(untouched: None) -> None:
    result = run(connection, runs("VACUUM dry_row"), atomic=False)

    assert "VACUUM can't run inside a transaction." in result.warnings


# The connection.


@pytest.fixture(params=["autocommit", "no autocommit"])
def foreign(request: pytest.FixtureRequest, untouched: None) -> Iterator[psycopg.Connection[Any]]:
    """A connection of the caller's own."""
    with psycopg.connect(**parameters(), autocommit=request.param == "autocommit") as conn:
        yield conn


def test_with_djangos_connection_its_alias_or_the_drivers(untouched: None) -> None:
    connection.ensure_connection()
    for conn in (connection, connections["default"], "default", connection.connection):
        assert run(conn, UPDATE).rows_affected == 1000


def test_on_another_alias(untouched: None) -> None:
    seen = []
    operation = python(lambda _apps, editor: seen.append(editor.connection.alias))

    run("other", operation)
    run(connections["other"], operation)

    assert seen == ["other", "other"]


def test_with_a_connection_of_the_callers_own(foreign: psycopg.Connection[Any]) -> None:
    seen = []

    def code(_apps: Any, editor: Any) -> None:
        assert editor.connection.connection is foreign
        assert connections["default"] is editor.connection
        seen.append(Group.objects.count())

    before = connections["default"]

    assert run(foreign, UPDATE, python(code)).rows_affected == 1000
    assert seen == [0]
    assert connections["default"] is before
    assert foreign.info.transaction_status.name == "IDLE"
    assert not foreign.closed


def test_in_a_transaction_of_the_callers_own(foreign: psycopg.Connection[Any]) -> None:
    with foreign.transaction(force_rollback=True):
        foreign.execute("INSERT INTO dry_parent VALUES (50)")
        result = run(foreign, runs("DELETE FROM dry_parent"))
        assert foreign.execute("SELECT count(*) FROM dry_parent").fetchone() == (11,)

    assert result.rows_affected == 11


def test_what_the_session_keeps_is_as_it_was_in_a_transaction_of_the_callers_own(
    foreign: psycopg.Connection[Any],
) -> None:
    own = "locktype = 'advisory' AND pid = pg_backend_pid()"
    locked = f"SELECT count(*) FROM pg_locks WHERE {own}"
    with foreign.transaction():
        foreign.execute("SELECT pg_advisory_lock(1), pg_advisory_xact_lock(2)")
        foreign.execute("PREPARE dry_mine AS SELECT 1")
        run(
            foreign,
            runs("SELECT pg_advisory_lock(4711); PREPARE dry_other AS SELECT 2"),
            runs("SELECT pg_advisory_xact_lock(4712)"),
        )
        assert foreign.execute(locked).fetchone() == (2,)
        names = foreign.execute("SELECT name FROM pg_prepared_statements WHERE from_sql")
        assert names.fetchall() == [("dry_mine",)]
        foreign.execute("UPDATE dry_row SET number = 7 WHERE id = 1")
    foreign.execute("SELECT pg_advisory_unlock(1); DEALLOCATE dry_mine")
    foreign.execute("UPDATE dry_row SET number = 1 WHERE id = 1")
    foreign.commit()


def test_in_a_broken_transaction_of_the_callers_own(foreign: psycopg.Connection[Any]) -> None:
    with suppress(psycopg.Error), foreign.transaction():
        try:
            foreign.execute("SELECT 1 / 0")
        finally:
            with pytest.raises(DryRunRefused, match="is in a broken transaction"):
                run(foreign, UPDATE)


def test_with_rows_and_types_of_the_callers_own(foreign: psycopg.Connection[Any]) -> None:
    """Django reads its own tables through it, in its own way."""
    foreign.row_factory = dict_row
    foreign.execute("SET TimeZone = 'Asia/Kolkata'")
    foreign.commit()

    def code() -> None:
        assert list(Group.objects.values_list("name", flat=True)) == []
        assert query("SELECT '{\"a\": 1}'::jsonb") == [('{"a": 1}',)]
        assert query("SHOW TimeZone") == [("UTC",)]

    assert run(foreign, python(code)).success
    assert foreign.row_factory is dict_row
    row: Any = foreign.execute("SELECT current_setting('TimeZone') AS zone, '[1]'::jsonb AS value")
    assert row.fetchone() == {"zone": "Asia/Kolkata", "value": [1]}


def test_a_server_that_is_not_there_is_refused(untouched: None) -> None:
    wrapper: Any = connections["other"]
    wrapper.close()
    known = wrapper.settings_dict
    wrapper.settings_dict = {**known, "HOST": "/nowhere"}
    try:
        with pytest.raises(DryRunRefused, match=r"^Cannot connect to 'other': ") as caught:
            run("other", UPDATE)
    finally:
        wrapper.settings_dict = known

    assert isinstance(caught.value.__cause__, OperationalError)


def test_a_session_that_ends_before_the_first_migration(
    untouched: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    def terminated(wrapper: Any, session: Any) -> None:
        with plain_connection() as plain:
            plain.execute("SELECT pg_terminate_backend(%s)", [session.raw.info.backend_pid])
        session.query("SELECT 1")

    monkeypatch.setattr(transaction_rehearsal, "refuse_unusable", terminated)

    with pytest.raises(DryRunError, match=r"terminating connection|server closed"):
        run(connection, UPDATE)

    connection.close()


@pytest.mark.parametrize(
    ("given", "error"),
    [
        ({"DRY_RUN": {"LOCK_TIMEOUT": "soon"}}, ImproperlyConfigured),
        ({"PHASES": {"NOPE": []}}, ImproperlyConfigured),
        ({"PHASES": {"CLEANUP": ["missing"]}}, HookLookupError),
    ],
)
def test_a_wrong_setting_is_no_failure_of_the_migration(
    untouched: None, settings: Settings, given: Any, error: type[Exception]
) -> None:
    settings.CONFITURE = given

    with pytest.raises(error):
        run(connection, UPDATE)


def test_a_database_that_no_alias_names_is_refused(scratch: None) -> None:
    with (
        psycopg.connect(**{**parameters(), "dbname": "postgres"}) as conn,
        pytest.raises(DryRunRefused) as refused,
    ):
        run(conn, UPDATE)

    assert str(refused.value) == (
        "The connection is to the database 'postgres', which no alias in settings.DATABASES "
        "names; pass one of Django's connections or its alias."
    )


# The migration.


def test_the_callers_instance_is_left_as_it_was(untouched: None) -> None:
    mine = migration(UPDATE)
    before = {**vars(mine), "operations": list(mine.operations)}

    for _ in range(2):
        assert DryRunExecutor().run(connection, mine).rows_affected == 1000

    assert vars(mine) == before


def test_the_callers_instance_can_be_applied_for_real_afterwards(scratch: None) -> None:
    mine = migration(UPDATE)
    DryRunExecutor().run(connection, mine)

    assert for_real(mine) == ""
    assert query("SELECT DISTINCT number FROM dry_row") == [(1,)]


def loaded(cases: Cases, name: str) -> Migration:
    found: Migration = MigrationLoader(connection).get_migration("cases", name)
    return found


def test_what_it_depends_on_is_rehearsed_before_it(cases: Cases) -> None:
    cases.add("0001_thing", CreateModel("Thing", [ID]))
    cases.add("0002_number", AddField("thing", "number", models.IntegerField(null=True)))
    cases.add("0003_fill", runs("INSERT INTO cases_thing VALUES (1, 2)"))

    result = DryRunExecutor().run(connection, loaded(cases, "0003_fill"))

    assert result.migration_name == "0003_fill"
    assert result.rows_affected == 1
    assert result.warnings[0] == (
        "Rehearsed first, as it depends on them: cases.0001_thing, cases.0002_number."
    )
    assert not table_exists("cases_thing")
    assert cases.applied() == set()


def test_of_an_equal_name_in_another_app_it_depends_as_well(cases: Cases) -> None:
    cases.write(
        "0001_initial",
        "from django.db import migrations\n"
        "class Migration(migrations.Migration):\n"
        "    dependencies = [('auth', '0001_initial')]\n"
        "    operations = [migrations.RunSQL('SELECT 1 FROM auth_group')]\n",
    )
    call_command("migrate", "auth", "zero", verbosity=0)
    try:
        result = DryRunExecutor().run(connection, loaded(cases, "0001_initial"))
    finally:
        call_command("migrate", "auth", verbosity=0)

    assert "auth.0001_initial" in result.warnings[0]


def test_what_fails_before_it_is_named(cases: Cases) -> None:
    cases.add("0001_fails", runs("SELECT 1 / 0"))
    cases.add("0002_more", runs("SELECT 1"))

    with pytest.raises(DryRunError, match="division by zero"):
        DryRunExecutor().run(connection, loaded(cases, "0002_more"))


def test_what_is_applied_already_is_an_error(cases: Cases) -> None:
    cases.add("0001_thing", CreateModel("Thing", [ID]))
    cases.migrate()

    with pytest.raises(DryRunError) as raised:
        DryRunExecutor().run(connection, loaded(cases, "0001_thing"))

    assert str(raised.value) == (
        "Dry-run failed for migration 0001_thing: cases.0001_thing is applied already; "
        "a dry run rehearses what is still to be applied."
    )


@pytest.mark.django_db
def test_a_migration_of_an_installed_app() -> None:
    applied: Migration = MigrationLoader(connection).get_migration("shop", "0008_order_public_id")

    with pytest.raises(DryRunError, match="is applied already"):
        DryRunExecutor().run(connection, applied)


@pytest.mark.django_db(transaction=True)
def test_a_migration_of_an_installed_app_with_those_it_depends_on() -> None:
    call_command("migrate", "shop", "0006", verbosity=0)
    try:
        pending = MigrationLoader(connection).get_migration("shop", "0009_fill_order_search_text")
        result = DryRunExecutor().run(connection, pending)
    finally:
        call_command("migrate", "shop", verbosity=0)

    assert result.success
    assert result.warnings[0] == (
        "Rehearsed first, as it depends on them: "
        "shop.0007_orderline_product_foreign_key, shop.0008_order_public_id."
    )


# What goes wrong, and what is logged.


def test_a_failure_is_raised_from_the_original(untouched: None) -> None:
    original = ValueError("no")

    def code() -> None:
        raise original

    with pytest.raises(DryRunError) as raised:
        run(connection, python(code))

    assert raised.value.migration_name == "0007_rows"
    assert raised.value.original_error is original
    assert raised.value.__cause__ is original
    assert str(raised.value) == "Dry-run failed for migration 0007_rows: no"


def test_the_events_of_a_success(untouched: None, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG, "django_confiture.dry_run"):
        result = run(connection, UPDATE)

    start, completed = events(caplog)
    common = {"migration": "0007_rows", "version": "0007", "app_label": "cases"}
    assert start == ("dry_run_start", common)
    assert completed == (
        "dry_run_completed",
        {**common, "execution_time_ms": result.execution_time_ms, "success": True},
    )
    assert {(r.name, r.levelname) for r in caplog.records if r.name.startswith("django_conf")} == {
        ("django_confiture.dry_run", "INFO")
    }


def test_the_events_of_a_failure(untouched: None, caplog: pytest.LogCaptureFixture) -> None:
    with (
        caplog.at_level(logging.DEBUG, "django_confiture.dry_run"),
        pytest.raises(DryRunError),
    ):
        run(connection, runs("SELECT 1 / 0"))

    assert [name for name, _ in events(caplog)] == ["dry_run_start", "dry_run_failed"]
    failed = next(r for r in caplog.records if r.getMessage() == "dry_run_failed")
    assert failed.levelname == "ERROR"
    assert failed.exc_info
    assert events(caplog, "dry_run_failed") == [
        (
            "dry_run_failed",
            {
                "migration": "0007_rows",
                "version": "0007",
                "app_label": "cases",
                "error": "division by zero",
            },
        )
    ]
