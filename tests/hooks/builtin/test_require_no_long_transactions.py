"""``require_no_long_transactions``: sessions that are named, waited for, reported, ignored."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
import pytest
from django.db import connection
from pytest_django import Settings

from django_confiture import HookError
from django_confiture.testing import capture_hooks, run_hook
from tests.cases.migrations_on_disk import Cases
from tests.support.dry_run import plain_connection
from tests.support.logs import events
from tests.support.server import OwnServer, own_server
from tests.support.sessions import calling, found_for
from tests.support.shipped_hooks import in_phases, option_messages, rehearse, veto_of

__all__ = ["own_server"]  # a fixture

HOOK = "require_no_long_transactions"


@contextmanager
def open_transaction(application: str = "nightly report") -> Iterator[psycopg.Connection[Any]]:
    with plain_connection() as other:
        other.execute("SELECT set_config('application_name', %s, false)", [application])
        with other.transaction():
            other.execute("SELECT pg_sleep(0.05)")
            yield other


def configure(cases: Cases, settings: Settings, **options: Any) -> None:
    cases.add("0001_empty")
    given = {"longer_than": "40ms", **options}
    settings.CONFITURE = in_phases(BEFORE_VALIDATION=(HOOK, given))


def test_without_one_the_migration_runs(cases: Cases, settings: Settings) -> None:
    configure(cases, settings)
    cases.migrate()
    assert cases.applied() == {"0001_empty"}


def test_a_veto_names_the_session(cases: Cases, settings: Settings) -> None:
    configure(cases, settings)
    with open_transaction() as other:
        veto = veto_of(cases)
        assert veto.startswith(
            "1 transaction has been open for 40 ms or longer: "
            f"PID {other.info.backend_pid} (user {other.info.user}, nightly report, "
            "idle in transaction, for "
        )
        assert veto.endswith(
            "ms). Let them end, or end them with pg_terminate_backend(PID), and migrate again."
        )
    assert cases.applied() == set()


def test_many_are_counted_and_the_longest_named(cases: Cases, settings: Settings) -> None:
    configure(cases, settings)
    with (
        open_transaction("a"),
        open_transaction("b"),
        open_transaction("c"),
        open_transaction("d"),
        open_transaction("e"),
        open_transaction("f"),
    ):
        veto = veto_of(cases)
    assert veto.startswith("6 transactions have been open")
    assert "and 1 more. Let them end" in veto
    assert ", a, idle" in veto
    assert ", f, idle" not in veto


def test_younger_and_ignored_transactions_do_not_count(cases: Cases, settings: Settings) -> None:
    configure(cases, settings, ignore=["pg_dump"])
    with open_transaction("pg_dump"):
        cases.migrate()
        settings.CONFITURE = in_phases(BEFORE_VALIDATION=(HOOK, {"longer_than": "1h"}))
        cases.migrate("zero")
    assert cases.applied() == set()


def test_it_waits_until_they_are_gone(cases: Cases, settings: Settings) -> None:
    configure(cases, settings, action="wait", wait_up_to="30s")
    looked = (
        "SELECT 1 FROM pg_stat_activity WHERE datname = current_database()"
        " AND query LIKE '%pg_prepared_xacts%' AND pid <> pg_backend_pid()"
    )
    with plain_connection() as other, found_for(0.6, looked) as has_waited:
        other.execute("BEGIN; SELECT pg_sleep(0.05)")
        with calling(other.rollback, when=has_waited), capture_hooks() as hooks:
            cases.migrate()
    (run,) = hooks.assert_ran("RequireNoLongTransactions")
    assert run.result is not None
    assert run.result.stats is not None
    assert run.result.stats["waited_ms"] >= 500
    assert run.result.stats["found"] == []


def test_it_gives_up_waiting(cases: Cases, settings: Settings) -> None:
    configure(cases, settings, action="wait", wait_up_to="300ms")
    with open_transaction():
        assert veto_of(cases).startswith("After 300 ms, 1 transaction has been open")


def test_it_only_reports(
    cases: Cases, settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    configure(cases, settings, action="report")
    caplog.set_level(logging.WARNING, "django_confiture.hooks")
    with open_transaction():
        cases.migrate()
    ((event, facts),) = events(caplog)
    assert event == "long_transactions"
    assert (facts["migration"], facts["app_label"]) == ("0001_empty", "cases")
    assert "nightly report" in facts["sessions"][0]


@pytest.mark.django_db(transaction=True)
def test_a_prepared_transaction_counts(own_server: OwnServer) -> None:
    with own_server.started(max_prepared_transactions=2):
        with own_server.connect() as other:
            other.execute("BEGIN")
            other.execute("CREATE TABLE dry_prepared ()")
            other.execute("PREPARE TRANSACTION 'left behind'")
        with pytest.raises(HookError, match=r"prepared 'left behind' \(user \w+, for "):
            run_hook(HOOK, options={"longer_than": "0s"})
        own_server.query_alone("ROLLBACK PREPARED 'left behind'")
        run_hook(HOOK, options={"longer_than": "0s"})


def test_sessions_that_the_role_may_not_look_into_are_counted(
    cases: Cases, settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    configure(cases, settings)
    with plain_connection() as admin, open_transaction():
        admin.execute("DROP ROLE IF EXISTS confiture_blind; CREATE ROLE confiture_blind")
        try:
            with connection.cursor() as cursor:
                for what in ("ALL TABLES IN SCHEMA", "ALL SEQUENCES IN SCHEMA", "SCHEMA"):
                    cursor.execute(f"GRANT ALL ON {what} public TO confiture_blind")
                cursor.execute("SET ROLE confiture_blind")
            cases.migrate()
        finally:
            connection.close()
            admin.execute("DROP OWNED BY confiture_blind; DROP ROLE confiture_blind")
    hidden = [facts for event, facts in events(caplog) if event == "sessions_hidden"]
    assert hidden[0]["sessions"] >= 1


def test_a_dry_run_only_reports(
    cases: Cases, settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    configure(cases, settings)
    with open_transaction():
        assert rehearse(cases, "0001_empty").success
    assert "long_transactions" in [event for event, _ in events(caplog)]


def test_backwards_it_vetoes_too(cases: Cases, settings: Settings) -> None:
    configure(cases, settings)
    cases.migrate()
    with open_transaction():
        assert veto_of(cases, "zero").startswith("1 transaction has been open")


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (
            {"longer_then": "1s"},
            (
                "confiture.E011",
                "require_no_long_transactions has the unknown option 'longer_then'.",
                "Did you mean 'longer_than'?",
            ),
        ),
        (
            {"action": "shrug"},
            (
                "confiture.E012",
                "require_no_long_transactions: OPTIONS[\"action\"] is 'shrug'.",
                'Write one of "veto", "wait", "report".',
            ),
        ),
        (
            {"longer_than": "soon"},
            (
                "confiture.E012",
                (
                    "require_no_long_transactions: OPTIONS[\"longer_than\"] is 'soon', which is "
                    "not a duration."
                ),
                'Write a number and a unit, such as "500ms", "2s" or "5min".',
            ),
        ),
        (
            {"ignore": "pg_dump"},
            (
                "confiture.E012",
                "require_no_long_transactions: OPTIONS[\"ignore\"] is 'pg_dump'.",
                "Write a list of strings.",
            ),
        ),
    ],
)
def test_wrong_options_are_system_checks(options: Any, expected: Any) -> None:
    assert option_messages(HOOK, options) == [expected]
