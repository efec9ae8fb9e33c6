"""``remove_invalid_indexes``: leftovers of a real ``CONCURRENTLY`` that was cut off."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import psycopg
import pytest
from django.db import migrations
from pytest_django import Settings

from django_confiture import RunHook
from django_confiture.testing import capture_hooks
from tests.cases.migrations_on_disk import Cases, query
from tests.support.dry_run import plain_connection
from tests.support.logs import events
from tests.support.shipped_hooks import execute, in_phases, option_messages, rehearse

HOOK = "remove_invalid_indexes"


@pytest.fixture(autouse=True)
def _leftovers(cases: Cases, settings: Settings) -> None:
    """Build a unique index CONCURRENTLY over values that are not unique."""
    execute("CREATE TABLE cases_a (id int)", "CREATE TABLE cases_b (id int)")
    for table in ("cases_a", "cases_b"):
        execute(
            f"INSERT INTO {table} VALUES (1), (1)", f"CREATE INDEX {table}_valid ON {table} (id)"
        )
        leave_invalid(table)
    settings.CONFITURE = in_phases(BEFORE_DDL=(HOOK, {}))


def leave_invalid(table: str) -> None:
    with plain_connection() as other, suppress(psycopg.errors.UniqueViolation):
        other.execute(f"CREATE UNIQUE INDEX CONCURRENTLY {table}_left ON {table} (id)")


def indexes() -> list[str]:
    found = query("SELECT indexname FROM pg_indexes WHERE tablename LIKE 'cases\\_%%' ORDER BY 1")
    return [name for (name,) in found]


ALL = ["cases_a_left", "cases_a_valid", "cases_b_left", "cases_b_valid"]
VALID = ["cases_a_valid", "cases_b_valid"]


def test_they_are_dropped_and_logged(
    cases: Cases, settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    assert indexes() == ALL
    cases.add("0001_again", migrations.RunSQL("CREATE INDEX cases_a_left ON cases_a (id)"))
    with capture_hooks() as hooks:
        cases.migrate()
    (run,) = hooks.assert_ran("RemoveInvalidIndexes")
    assert run.result is not None
    assert run.result.stats == {"dropped": ["cases_a_left", "cases_b_left"], "left": []}
    assert indexes() == ["cases_a_left", *VALID]
    dropped = [facts for event, facts in events(caplog) if event == "invalid_index_dropped"]
    assert [(each["index"], each["table"], each["migration"]) for each in dropped] == [
        ("cases_a_left", "cases_a", "0001_again"),
        ("cases_b_left", "cases_b", "0001_again"),
    ]


def test_only_those_of_the_tables_that_are_named(cases: Cases, settings: Settings) -> None:
    cases.add("0001_empty")
    settings.CONFITURE = in_phases(BEFORE_DDL=(HOOK, {"tables": ["*_b"]}))
    cases.migrate()
    assert indexes() == ["cases_a_left", *VALID]


def test_it_stays_done_when_the_migration_fails(cases: Cases) -> None:
    cases.add("0001_fails", migrations.RunSQL("SELECT 1 / 0"))
    with pytest.raises(Exception, match="division by zero"):
        cases.migrate()
    assert indexes() == VALID


def test_one_that_is_being_built_is_left_alone(cases: Cases) -> None:
    cases.add("0001_empty")
    with plain_connection() as writer, plain_connection() as builder:
        writer.execute("BEGIN; INSERT INTO cases_a VALUES (2)")
        builder.autocommit = True
        builder.pgconn.send_query(b"CREATE INDEX CONCURRENTLY cases_a_slow ON cases_a (id)")
        while not query("SELECT 1 FROM pg_class WHERE relname = 'cases_a_slow'"):
            pass
        with capture_hooks() as hooks:
            cases.migrate()
        writer.execute("ROLLBACK")
        while builder.pgconn.get_result() is not None:
            pass
    (run,) = hooks.assert_ran("RemoveInvalidIndexes")
    assert run.result is not None
    assert run.result.stats == {
        "dropped": ["cases_b_left"],
        "left": ["cases_a_left", "cases_a_slow"],
    }
    assert "cases_a_slow" in indexes()


def test_a_drop_that_would_wait_too_long_does_not_stop_the_migration(
    cases: Cases, settings: Settings
) -> None:
    cases.add("0001_empty")
    options = {"tables": ["cases_a"], "lock_timeout": "100ms"}
    settings.CONFITURE = in_phases(BEFORE_DDL=(HOOK, options))
    with plain_connection() as other, capture_hooks() as hooks:
        other.execute("BEGIN; SELECT count(*) FROM cases_a")
        cases.migrate()
        other.execute("ROLLBACK")
    (run,) = hooks.find("RemoveInvalidIndexes")
    assert "canceling statement due to lock timeout" in str(run.error)
    assert cases.applied() == {"0001_empty"}
    assert "cases_a_left" in indexes()


def test_after_the_migration_has_touched_the_table_it_refuses_instead_of_waiting_for_itself(
    cases: Cases, settings: Settings
) -> None:
    settings.CONFITURE = {}
    cases.add("0001_late", migrations.RunSQL("DELETE FROM cases_a WHERE id = 2"), RunHook(HOOK))
    with capture_hooks() as hooks:
        cases.migrate()
    (run,) = hooks.find("RemoveInvalidIndexes")
    assert run.error is not None
    assert str(run.error) == (
        "The migration holds a lock on cases_a already, for which the drop of cases_a_left would "
        "wait; let remove_invalid_indexes run in BEFORE_DDL."
    )
    assert indexes() == ALL


def test_an_index_of_a_partitioned_table_that_waits_for_its_partitions_is_left_alone(
    cases: Cases,
) -> None:
    execute(
        "CREATE TABLE cases_parted (id int) PARTITION BY RANGE (id)",
        "CREATE TABLE cases_part PARTITION OF cases_parted FOR VALUES FROM (1) TO (9)",
        "CREATE INDEX cases_parted_id ON ONLY cases_parted (id)",
    )
    cases.add("0001_empty")
    cases.migrate()
    assert indexes() == [*VALID, "cases_parted_id"]


def test_a_dry_run_says_which_ones_it_would_drop(cases: Cases) -> None:
    cases.add("0001_empty")
    with capture_hooks() as hooks:
        assert rehearse(cases, "0001_empty").success
    (run,) = hooks.assert_ran("RemoveInvalidIndexes")
    assert run.result is not None
    assert run.result.stats == {"would_drop": ["cases_a_left", "cases_b_left"], "left": []}
    assert indexes() == ALL


def test_backwards_it_drops_them_too(cases: Cases, settings: Settings) -> None:
    settings.CONFITURE = {}
    cases.add("0001_empty")
    cases.migrate()
    settings.CONFITURE = in_phases(BEFORE_DDL=(HOOK, {}))
    cases.migrate("zero")
    assert indexes() == VALID


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (
            {"pattern": "*"},
            (
                "confiture.E011",
                "remove_invalid_indexes has the unknown option 'pattern'.",
                "Known are: tables, lock_timeout.",
            ),
        ),
        (
            {"lock_timeout": 5},
            (
                "confiture.E012",
                'remove_invalid_indexes: OPTIONS["lock_timeout"] is 5, which is not a duration.',
                'Write a number and a unit, such as "500ms", "2s" or "5min".',
            ),
        ),
    ],
)
def test_wrong_options_are_system_checks(options: Any, expected: Any) -> None:
    assert option_messages(HOOK, options) == [expected]
