"""Odd but legal uses of what is promised first: errors, hooks and registries as others use them."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Iterator
from importlib import metadata
from typing import Any

import psycopg
import pytest
from django.db import connection, migrations
from django.db.migrations.writer import MigrationWriter
from psycopg.rows import dict_row

from django_confiture import (
    DryRunError,
    Hook,
    HookContext,
    HookError,
    HookExecutor,
    HookPhase,
    HookRegistry,
    HookResult,
    MigrationError,
    RunHook,
    conf,
    exceptions,
)
from django_confiture.backfills.options import UnusableOption

ERRORS = (
    MigrationError("text"),
    HookError(hook_name="Backup", phase=HookPhase.CLEANUP, error=ValueError("late")),
    exceptions.HookRefusal("Backup", "CLEANUP", exceptions.HookVeto("too old")),
    exceptions.HookLookupError("no hook", "Write one."),
    exceptions.MigrationGaveWay("text"),
    exceptions.MigrationGotNoLock("text"),
    exceptions.MigrationSessionLost("text"),
    exceptions.BackfillRefusal("text"),
    DryRunError(migration_name="0003_add_segment", error=ValueError("late")),
    exceptions.DryRunRefused("text"),
    exceptions.DryRunStopped("text"),
    exceptions.DryRunYielded([1]),
    conf.SettingError("TIMEOUT is 3", "write a duration", quantity=True),
    UnusableOption("MIN is 0", "write a number"),
)


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
def test_errors_survive_copies_and_the_way_to_another_process(error: Exception) -> None:
    for again in (copy.copy(error), pickle.loads(pickle.dumps(error))):
        assert type(again) is type(error)
        assert str(again) == str(error)
        assert vars(again).keys() == vars(error).keys()


class Counts(Hook):
    phase = HookPhase.AFTER_DDL
    timeout = "5s"

    def execute(self, conn: psycopg.Connection[Any], context: HookContext) -> HookResult:
        rows = conn.execute("SELECT 1").fetchall()
        return HookResult(phase="AFTER_DDL", hook_name="Counts", rows_affected=len(rows))


class Other(Counts):
    pass


@pytest.fixture(params=[True, False], ids=["autocommit", "in a transaction"])
def conn(request: pytest.FixtureRequest, db: None) -> Iterator[psycopg.Connection[Any]]:
    """Yield a connection that Django does not know."""
    keys = {"host", "port", "dbname", "user", "password"}
    params = connection.get_connection_params()
    known: dict[str, Any] = {key: params[key] for key in keys & set(params)}
    with psycopg.connect(**known, autocommit=request.param) as opened:
        yield opened


def test_hooks_run_on_a_connection_that_django_does_not_know(
    conn: psycopg.Connection[Any],
) -> None:
    conn.row_factory = dict_row
    results = HookExecutor().execute_phase(
        conn=conn,
        phase=HookPhase.AFTER_DDL,
        hooks=(each for each in (Counts(), Counts)),
        context=HookContext("0003_add_segment", "0003"),
    )
    assert [each.rows_affected for each in results] == [1, 1]
    assert conn.execute("SHOW statement_timeout").fetchone() == {"statement_timeout": "0"}


def test_a_registry_finds_entry_points_by_importlib_metadata(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    found = metadata.EntryPoint("counts", f"{__name__}:Counts", "confiture.hooks")
    monkeypatch.setattr(metadata, "entry_points", lambda *, group: [found] * (group == found.group))
    registry = HookRegistry()
    assert registry.list_hooks() == ["counts"]
    assert registry.get(name="counts") is Counts
    registry.register(name="counts", hook_class=Other)
    assert registry.get("counts") is Other


@pytest.mark.parametrize(
    "operation",
    [
        RunHook("counts"),
        RunHook(Counts, phase="ON_ERROR"),
        RunHook("shop.hooks.Counts", options={"of": [1, (2,)]}, hints={"x": 1}, elidable=True),
    ],
)
def test_run_hook_survives_files_copies_and_pickles(operation: RunHook) -> None:
    nested = migrations.SeparateDatabaseAndState(database_operations=[operation])
    migration = type("Migration", (migrations.Migration,), {"operations": [nested]})
    scope: dict[str, Any] = {}
    exec(MigrationWriter(migration("0001_case", "cases")).as_string(), scope)
    (written,) = scope["Migration"].operations[0].database_operations
    for again in (written, copy.deepcopy(operation), pickle.loads(pickle.dumps(operation))):
        assert type(again) is RunHook
        assert again.deconstruct() == operation.deconstruct()
