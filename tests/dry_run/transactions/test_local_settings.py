"""Settings at a rehearsed COMMIT: what could be set unseen is said, and nothing else."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import connection
from django.db.migrations import Migration
from django.db.migrations.operations.base import Operation

from tests.cases.migrations_on_disk import query
from tests.support.dry_run import (
    executes,
    for_real,
    migration,
    passed,
    plain_connection,
    python,
    rehearse,
    runs,
)
from tests.support.settings_cases import (
    CALLS,
    EXECUTED,
    FAILS_IF_ON,
    LOCALLY,
    UNTOLD,
    UPDATES,
    block,
    function,
    trigger,
)

FOR_SESSION = "PERFORM set_config('dry.mode', 'on', false)"
BY_PARAMETER = "EXECUTE format('SET LOCAL %I = %L', 'dry' || '.mode', 'on')"


@pytest.mark.parametrize(
    ("before", "operation"),
    [
        ("", runs(block(UNTOLD))),
        ("", runs(block(BY_PARAMETER))),
        (function(UNTOLD), runs(CALLS)),
        (function(UNTOLD), runs(block("PERFORM dry_sets()"))),
        (trigger(UNTOLD), runs(UPDATES)),
        ("", runs("SELECT set_config('dry.' || lower('MODE'), 'on', true)")),
        (function(LOCALLY), runs(block(FOR_SESSION))),  # it may call what sets it locally
    ],
)
def test_what_is_set_unseen_is_not_exact(
    before: str, operation: Operation, scratch: Any, scratch_tables: Any
) -> None:
    if before:
        scratch_tables.observers["default"].execute(before)

    (result,) = passed(operation).operations

    assert result.rehearsed == "not_rehearsed"
    assert "--clone" in result.reason


@pytest.mark.parametrize(
    ("before", "operation"),
    [
        ("", runs(block(LOCALLY))),
        ("", runs(block(EXECUTED))),
        ("", executes("SELECT set_config(%s, %s, true)", ["dry.mode", "on"])),
        (function(LOCALLY), runs(CALLS)),
        (trigger(LOCALLY), runs(UPDATES)),
        (function(UNTOLD), runs(UPDATES)),  # which does not call it
        ("", runs("SELECT current_setting('dry.mode', true)")),
    ],
)
def test_what_is_set_in_plain_sight_is_exact(
    before: str, operation: Operation, scratch: Any, scratch_tables: Any
) -> None:
    if before:
        scratch_tables.observers["default"].execute(before)

    (result,) = passed(operation).operations

    assert result.rehearsed == "exact"


def test_what_code_sets_for_the_session_outlasts_a_local_value(scratch: Any) -> None:
    seen: list[Any] = []
    look = python(lambda: seen.extend(query("SELECT current_setting('dry.mode', true)")))
    report = rehearse(
        migration(runs(block(FOR_SESSION)), runs("SET LOCAL dry.mode = 'off'"), look),
        migration(look, name="0002_looks"),
    )
    assert seen == [("off",), ("on",)]
    assert report.coverage.not_rehearsed == 0


def test_a_policy_reads_the_setting(scratch: Any, scratch_tables: Any) -> None:
    """The rows that a forced policy hid in the second migration are missing in the third."""
    scratch_tables.observers["default"].execute(
        """
        CREATE TABLE dry_ledger (id integer, note text);
        INSERT INTO dry_ledger SELECT generate_series(1, 10);
        ALTER TABLE dry_ledger ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
        CREATE POLICY dry_all ON dry_ledger USING (current_setting('dry.tenants', true) = 'all');
        GRANT ALL ON dry_ledger TO pg_monitor;
        """
    )
    see_all = "PERFORM set_config('dry.' || 'tenants', 'all', true)"
    steps = [
        migration(runs(block(f"{see_all}; UPDATE dry_ledger SET note = 'x' WHERE id < 5"))),
        migration(
            runs("SET LOCAL ROLE pg_monitor"),
            runs("UPDATE dry_ledger SET note = 'y' WHERE note IS NULL"),
            runs("RESET ROLE"),
            name="0002_case",
        ),
        migration(runs("ALTER TABLE dry_ledger ALTER note SET NOT NULL"), name="0003_case"),
    ]

    third = rehearse(*steps).migrations[2]

    assert third.error is not None
    assert "contains null values" in third.error.message


def test_settings_cost_no_look_where_nothing_sets_one(scratch: Any) -> None:
    """A plan without such code is read once, however many statements it has."""
    statements = [executes("UPDATE dry_row SET number = %s WHERE id = %s", [i, i]) for i in (1, 2)]

    result = passed(*statements, runs(FAILS_IF_ON))

    assert {each.rehearsed for each in result.operations} == {"exact"}


@pytest.mark.parametrize(
    ("name", "value"),
    [("TimeZone", "Asia/Tokyo"), ("IntervalStyle", "iso_8601"), ("DateStyle", "German, DMY")],
)
def test_a_setting_with_capitals_in_its_name(name: str, value: str, scratch: Any) -> None:
    seen: list[Any] = []
    look = python(lambda: seen.extend(query(f"SHOW {name}")))

    def plan(level: str) -> list[Migration]:
        sets = runs(f"SET {level} {name} = '{value}'")
        return [migration(sets, look), migration(look, name="0002_looks")]

    for level in ("SESSION", "LOCAL"):
        for run in (rehearse, for_real):
            run(*plan(level))
            connection.close()

    ((before,),) = query(f"SHOW {name}")
    assert seen == [(value,)] * 4 + [(value,), (before,)] * 2


@pytest.mark.parametrize("whose", ["ROLE CURRENT_USER", "DATABASE"])
def test_what_later_sessions_begin_with_changes_nothing_here(untouched: None, whose: str) -> None:
    """As for real: the session that migrates is there already, in later migrations too."""
    if whose == "DATABASE":
        whose = f'DATABASE "{connection.settings_dict["NAME"]}"'
    setting = f"ALTER {whose} SET search_path = dry_nowhere"

    report = rehearse(
        migration(runs(setting), name="0001_set"),
        migration(runs("UPDATE dry_row SET number = 0"), name="0002_update"),
    )

    assert [each.outcome for each in report.migrations] == ["passed", "passed"]
    with plain_connection() as plain:
        assert plain.execute("SELECT FROM dry_row LIMIT 1").rowcount == 1
