"""What is promised to users, word for word. A test that fails here breaks a user's project."""

from __future__ import annotations

import dataclasses
import enum
import inspect
import io
import json
import logging
import os
import subprocess
import sys
from abc import ABC
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from django.contrib.auth.models import Group
from django.db import connection, migrations, models, transaction
from psycopg import Connection
from pythonjsonlogger.json import JsonFormatter

import django_confiture
from django_confiture import (
    DryRunError,
    DryRunExecutor,
    DryRunResult,
    Hook,
    HookContext,
    HookError,
    HookExecutor,
    HookPhase,
    HookRegistry,
    HookResult,
    MigrationError,
    RunHook,
    get_hook,
    operations,
    register_hook,
)
from django_confiture.hooks.registry import registry
from django_confiture.testing import isolated_registry
from tests.cases.migrations_on_disk import Cases, query, table_exists
from tests.support.logs import extra

ROOT = Path(__file__).parents[1]


# Public names


def test_every_promised_name_is_public() -> None:
    promised = {
        "HookPhase",
        "Hook",
        "HookContext",
        "HookResult",
        "MigrationError",
        "HookError",
        "HookRegistry",
        "register_hook",
        "get_hook",
        "HookExecutor",
        "DryRunExecutor",
        "DryRunResult",
        "DryRunError",
        "RunHook",
    }
    assert promised <= set(django_confiture.__all__)
    for name in django_confiture.__all__:
        assert getattr(django_confiture, name).__name__ == name


def test_what_is_not_public_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="module 'django_confiture' has no attribute 'Hok'"):
        _ = django_confiture.Hok


@pytest.mark.parametrize(
    ("statement", "absent"),
    [
        ("import django_confiture", {"postgast", "rich"}),
        ("from django_confiture import RunHook, HookExecutor, DryRunResult", {"postgast", "rich"}),
        ("from django_confiture.operations import RunHook", {"postgast", "rich"}),
        ("from django_confiture import *", set()),
    ],
)
def test_importing_needs_no_settings_and_not_what_only_the_dry_run_needs(
    statement: str, absent: set[str]
) -> None:
    code = f"{statement}\nimport sys\nprint(*sys.modules)"
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    environment.pop("DJANGO_SETTINGS_MODULE", None)
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        env=environment,
        check=True,
        capture_output=True,
        text=True,
    )
    assert done.stderr == ""
    assert not absent & set(done.stdout.split())


def test_hook_phase_has_exactly_six_members() -> None:
    assert issubclass(HookPhase, enum.Enum)
    assert {name: phase.value for name, phase in HookPhase.__members__.items()} == {
        "BEFORE_VALIDATION": 1,
        "BEFORE_DDL": 2,
        "AFTER_DDL": 3,
        "AFTER_VALIDATION": 4,
        "CLEANUP": 5,
        "ON_ERROR": 6,
    }


class Simple(Hook):
    phase = HookPhase.AFTER_DDL

    def execute(self, conn: Connection[Any], context: HookContext) -> HookResult:
        cursor = conn.execute("INSERT INTO auth_group (name) VALUES ('simple')")
        return HookResult("AFTER_DDL", "Simple", rows_affected=cursor.rowcount)


class Fails(Hook):
    phase = HookPhase.AFTER_DDL

    def execute(self, conn: Connection[Any], context: HookContext) -> HookResult:
        conn.execute("INSERT INTO auth_group (name) VALUES ('lost')")
        raise ValueError("no backup today")


class BackwardOnly(Simple):
    directions = ("backward",)


def test_hook_is_abstract_in_execute_alone_and_synchronous() -> None:
    assert issubclass(Hook, ABC)
    assert Hook.__abstractmethods__ == {"execute"}
    assert list(inspect.signature(Hook.execute).parameters) == ["self", "conn", "context"]
    assert not inspect.iscoroutinefunction(Hook.execute)


def test_a_hooks_attributes_have_the_promised_defaults() -> None:
    hook = Simple()
    assert hook.directions == ("forward",)
    assert hook.on_failure == "abort"
    assert hook.timeout is None
    assert hook.runs_in_dry_run is True
    assert hook.check() == []


def test_a_context_needs_three_strings_of_which_the_last_may_be_left_out() -> None:
    context = HookContext("0003_add_segment", "0003")
    assert context.migration_name == "0003_add_segment"
    assert context.migration_version == "0003"
    assert context.direction == "forward"
    assert HookContext("0003_add_segment", "0003", "backward").direction == "backward"
    named = HookContext(
        migration_name="0003_add_segment", migration_version="0003", direction="backward"
    )
    assert named.direction == "backward"


def test_a_context_holds_statistics() -> None:
    context = HookContext("0003_add_segment", "0003")
    assert context.get_stat("rows") is None
    context.set_stat("rows", 12)
    assert context.get_stat("rows") == 12


def test_hook_result_has_the_promised_fields() -> None:
    fields = {field.name: field.default for field in dataclasses.fields(HookResult)}
    assert fields == {
        "phase": dataclasses.MISSING,
        "hook_name": dataclasses.MISSING,
        "rows_affected": 0,
        "stats": None,
        "execution_time_ms": 0,
    }
    assert HookResult("AFTER_DDL", "x").stats == {}
    assert HookResult("AFTER_DDL", "x", stats={"rows": 1}).stats == {"rows": 1}


@pytest.mark.parametrize("phase", ["AFTER_DDL", HookPhase.AFTER_DDL])
def test_hook_error(phase: object) -> None:
    original = ValueError("no backup today")
    error = HookError("Backup", phase, original)
    assert isinstance(error, MigrationError)
    assert (error.hook_name, error.phase, error.original_error) == ("Backup", "AFTER_DDL", original)
    assert str(error) == "Hook Backup failed in phase AFTER_DDL: no backup today"


def test_dry_run_error() -> None:
    original = ValueError("relation exists")
    error = DryRunError("0003_add_segment", original)
    assert isinstance(error, MigrationError)
    assert (error.migration_name, error.original_error) == ("0003_add_segment", original)
    assert str(error) == "Dry-run failed for migration 0003_add_segment: relation exists"


@pytest.mark.parametrize("wrong", [int, "shop.hooks.Backfill", None, Simple()])
def test_a_registry_takes_hook_subclasses_only(wrong: Any) -> None:
    with pytest.raises(TypeError):
        HookRegistry().register("wrong", wrong)


def test_a_registry_registers_gets_lists_and_unregisters() -> None:
    hooks = HookRegistry()
    hooks.register("simple", Simple)
    assert hooks.get("simple") is Simple
    assert hooks.get("missing") is None
    assert "simple" in hooks.list_hooks()
    hooks.unregister("simple")
    assert hooks.get("simple") is None


def test_register_hook_and_get_hook_use_one_global_registry() -> None:
    with isolated_registry():
        register_hook("called", Simple)
        assert get_hook("called") is registry.get("called") is Simple
        assert register_hook("decorated")(Fails) is Fails
        assert get_hook("decorated") is Fails
    assert get_hook("missing") is None


def test_run_hook_takes_the_promised_arguments() -> None:
    assert operations.RunHook is RunHook
    parameters = inspect.signature(RunHook).parameters
    assert [(name, p.kind.name, p.default) for name, p in parameters.items()] == [
        ("hook", "POSITIONAL_OR_KEYWORD", inspect.Parameter.empty),
        ("phase", "KEYWORD_ONLY", None),
        ("options", "KEYWORD_ONLY", None),
        ("elidable", "KEYWORD_ONLY", False),
        ("hints", "KEYWORD_ONLY", None),
    ]


@pytest.mark.django_db(transaction=True)
def test_execute_phase_loses_only_the_failing_hooks_work() -> None:
    context = HookContext("0003_add_segment", "0003")
    with transaction.atomic():
        connection.ensure_connection()
        with pytest.raises(HookError) as caught:
            HookExecutor().execute_phase(
                connection.connection, HookPhase.AFTER_DDL, [Simple(), Fails()], context
            )
    assert isinstance(caught.value.__cause__, ValueError)
    assert caught.value.__cause__ is caught.value.original_error
    assert list(Group.objects.values_list("name", flat=True)) == ["simple"]


# The reference example

REFERENCE = """
class BackfillReadModelHook(Hook):
    phase = HookPhase.AFTER_DDL

    def execute(self, conn, context):
        result = conn.execute("INSERT INTO r_customer_lifetime_value SELECT ...")
        return HookResult(phase="AFTER_DDL", hook_name="BackfillReadModel", rows_affected=result.rowcount)
"""  # noqa: E501 - the contract's own words

# What stands for the dots in it.
QUERY = "SELECT customer_id, sum(total) FROM cases_order GROUP BY customer_id"


@pytest.fixture
def own_schema(transactional_db: None) -> Iterator[None]:
    """Create tables in a schema of the test's own: the shop has a read model of that name."""
    with connection.cursor() as cursor:
        cursor.execute("CREATE SCHEMA reference")
        cursor.execute("SET search_path TO reference, public")
        yield
        cursor.execute("RESET search_path")
        cursor.execute("DROP SCHEMA reference CASCADE")


def test_the_reference_example_runs_unchanged_in_a_migration(
    cases: Cases, own_schema: None, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "django_confiture.hooks")
    namespace: dict[str, Any] = {"__name__": __name__}
    exec("from django_confiture import Hook, HookPhase, HookResult", namespace)
    exec(REFERENCE.replace("SELECT ...", QUERY), namespace)
    order: dict[str, models.Field[Any, Any]] = {
        "id": models.BigAutoField(primary_key=True),
        "customer_id": models.IntegerField(),
        "total": models.DecimalField(max_digits=9, decimal_places=2),
    }
    lifetime_value: dict[str, models.Field[Any, Any]] = {
        "customer_id": models.IntegerField(primary_key=True),
        "value": models.DecimalField(max_digits=9, decimal_places=2),
    }
    cases.add(
        "0001_initial",
        migrations.CreateModel("Order", list(order.items())),
        migrations.RunSQL(
            "INSERT INTO cases_order (customer_id, total) VALUES (1, 5), (1, 7), (2, 11)",
            migrations.RunSQL.noop,
        ),
    )
    cases.add(
        "0002_lifetime_value",
        migrations.CreateModel(
            "CustomerLifetimeValue",
            list(lifetime_value.items()),
            options={"db_table": "r_customer_lifetime_value"},
        ),
        RunHook(namespace["BackfillReadModelHook"]),
    )
    cases.migrate()
    rows = query("SELECT customer_id, value FROM r_customer_lifetime_value ORDER BY 1")
    assert rows == [(1, 12), (2, 11)]
    (completed,) = [record for record in caplog.records if record.msg == "hook_completed"]
    assert extra(completed)["rows_affected"] == 2
    cases.migrate("zero")
    assert not table_exists("reference.r_customer_lifetime_value")


# The dry run


def test_dry_run_result_has_the_promised_fields() -> None:
    fields = [(field.name, field.type) for field in dataclasses.fields(DryRunResult)]
    assert fields == [
        ("migration_name", "str"),
        ("migration_version", "str"),
        ("success", "bool"),
        ("execution_time_ms", "int"),
        ("rows_affected", "int"),
        ("locked_tables", "list[str]"),
        ("estimated_production_time_ms", "int"),
        ("confidence_percent", "int"),
        ("warnings", "list[str]"),
        ("stats", "dict[str, Any]"),
    ]
    result = DryRunResult("0003_add_segment", "0003", success=True, execution_time_ms=7)
    assert result.rows_affected == 0
    assert result.estimated_production_time_ms == result.confidence_percent == 0
    assert (result.locked_tables, result.warnings, result.stats) == ([], [], {})


def add_table_with_hook(cases: Cases, *then: migrations.RunSQL) -> None:
    cases.add(
        "0001_initial",
        migrations.CreateModel("Thing", [("id", models.BigAutoField(primary_key=True))]),
        RunHook(Simple),
        *then,
    )


def test_a_dry_run_says_what_happened_and_leaves_nothing_behind(cases: Cases) -> None:
    add_table_with_hook(cases)
    connection.ensure_connection()
    result = DryRunExecutor().run(psycopg_connection(), cases.loaded("0001_initial"))
    assert isinstance(result, DryRunResult)
    assert (result.migration_name, result.migration_version) == ("0001_initial", "0001")
    assert result.success
    assert result.rows_affected >= 1
    assert 0 <= result.confidence_percent <= 100
    assert not table_exists("cases_thing")
    assert not Group.objects.exists()
    assert cases.applied() == set()


def test_a_failing_dry_run_is_an_error_from_the_original_and_leaves_nothing_behind(
    cases: Cases,
) -> None:
    add_table_with_hook(cases, migrations.RunSQL("SELECT 1 / 0"))
    with pytest.raises(DryRunError) as caught:
        DryRunExecutor().run(psycopg_connection(), cases.loaded("0001_initial"))
    error = caught.value
    assert error.migration_name == "0001_initial"
    assert error.__cause__ is error.original_error
    assert str(error) == f"Dry-run failed for migration 0001_initial: {error.original_error}"
    assert "division by zero" in str(error)
    assert not table_exists("cases_thing")
    assert not Group.objects.exists()


# Log events

HOOKS = "django_confiture.hooks"
DRY_RUN = "django_confiture.dry_run"
EVENTS: dict[str, tuple[str, str, set[str]]] = {
    "executing_hooks": (HOOKS, "INFO", {"phase", "hook_count"}),
    "hook_start": (HOOKS, "DEBUG", {"hook", "phase"}),
    "hook_completed": (HOOKS, "INFO", {"hook", "phase", "duration_ms", "rows_affected"}),
    "hook_failed": (HOOKS, "ERROR", {"hook", "phase", "duration_ms", "error"}),
    "hook_skipped": (HOOKS, "INFO", {"hook", "phase", "reason"}),
    "phase_completed": (HOOKS, "INFO", {"phase", "hooks_executed"}),
    "dry_run_start": (DRY_RUN, "INFO", {"version"}),
    "dry_run_completed": (DRY_RUN, "INFO", {"version", "execution_time_ms", "success"}),
    "dry_run_failed": (DRY_RUN, "ERROR", {"version", "error"}),
}
WITH_TRACEBACK = {"hook_failed", "dry_run_failed"}


def hooks_that_do_and_do_not(cases: Cases) -> None:
    cases.add("0001_initial", RunHook(Simple), RunHook(BackwardOnly))
    cases.migrate()


def a_hook_that_fails(cases: Cases) -> None:
    cases.add("0001_initial", RunHook(Fails))
    with pytest.raises(HookError):
        cases.migrate()


def psycopg_connection() -> psycopg.Connection[Any]:
    """Return the connection that Django migrates with."""
    connection.ensure_connection()
    found: psycopg.Connection[Any] = connection.connection
    return found


def dry_run(cases: Cases) -> None:
    add_table_with_hook(cases)
    DryRunExecutor().run(psycopg_connection(), cases.loaded("0001_initial"))


def a_dry_run_that_fails(cases: Cases) -> None:
    add_table_with_hook(cases, migrations.RunSQL("SELECT 1 / 0"))
    with pytest.raises(DryRunError):
        DryRunExecutor().run(psycopg_connection(), cases.loaded("0001_initial"))


SCENARIOS: dict[Callable[[Cases], None], list[str]] = {
    hooks_that_do_and_do_not: [
        "executing_hooks",
        "hook_start",
        "hook_completed",
        "phase_completed",
        "executing_hooks",
        "hook_skipped",
        "phase_completed",
    ],
    a_hook_that_fails: ["executing_hooks", "hook_start", "hook_failed"],
    dry_run: [
        "dry_run_start",
        "executing_hooks",
        "hook_start",
        "hook_completed",
        "phase_completed",
        "dry_run_completed",
    ],
    a_dry_run_that_fails: [
        "dry_run_start",
        "executing_hooks",
        "hook_start",
        "hook_completed",
        "phase_completed",
        "dry_run_failed",
    ],
}


def test_the_scenarios_log_every_promised_event() -> None:
    assert {event for logged in SCENARIOS.values() for event in logged} == set(EVENTS)


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_events_have_the_promised_logger_level_and_fields_and_name_the_migration(
    cases: Cases, caplog: pytest.LogCaptureFixture, scenario: Callable[[Cases], None]
) -> None:
    caplog.set_level(logging.DEBUG, "django_confiture")
    scenario(cases)
    records = [record for record in caplog.records if record.name in (HOOKS, DRY_RUN)]
    assert [record.getMessage() for record in records] == SCENARIOS[scenario]
    for record in records:
        name, level, fields = EVENTS[record.getMessage()]
        assert (record.name, record.levelname) == (name, level)
        # app_label comes on top: two apps can have a migration of the same name.
        assert set(extra(record)) == {*fields, "migration", "app_label"}
        assert extra(record)["migration"] == "0001_initial"
        assert (record.exc_info is not None) == (record.getMessage() in WITH_TRACEBACK)


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_a_json_formatter_prints_the_fields_as_keys(
    cases: Cases, scenario: Callable[[Cases], None]
) -> None:
    written = io.StringIO()
    handler = logging.StreamHandler(written)
    handler.setFormatter(JsonFormatter("{levelname} {message}", style="{"))
    logger = logging.getLogger("django_confiture")
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.DEBUG)
    try:
        scenario(cases)
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)
    lines = [json.loads(line) for line in written.getvalue().splitlines()]
    assert [line["message"] for line in lines] == SCENARIOS[scenario]
    for line in lines:
        _, level_name, fields = EVENTS[line["message"]]
        assert line["levelname"] == level_name
        assert {*fields, "migration"} <= set(line)
        assert line["migration"] == "0001_initial"
        if line["message"] in WITH_TRACEBACK:
            assert "Traceback (most recent call last)" in line["exc_info"]
    (completed,) = [line for line in lines if line["message"] == "hook_completed"] or [None]
    if completed is not None:
        assert (completed["hook"], completed["phase"]) == ("Simple", "AFTER_DDL")
        assert completed["rows_affected"] == 1
        assert isinstance(completed["duration_ms"], int)
