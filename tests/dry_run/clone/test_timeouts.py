"""``--clone`` where the server ends sessions that are idle, and long transactions."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from tests.cases.migrations_on_disk import query
from tests.dry_run.transactions.test_closing import (
    WRITES,
    execute,
    swallows_and_closes,
    swallows_in_a_savepoint,
    timeout_of_role,
)
from tests.support.clone import both_ways, on_a_copy, source
from tests.support.dry_run import migration, python, runs

__all__ = ["source"]

pytestmark = pytest.mark.usefixtures("source")

SESSION, IN_TRANSACTION = "idle_session_timeout", "idle_in_transaction_session_timeout"


def pauses() -> None:
    execute(WRITES)
    time.sleep(1.0)
    execute(WRITES)


@pytest.mark.parametrize(
    ("code", "timeout", "atomic"),
    [
        (pauses, SESSION, False),
        (pauses, IN_TRANSACTION, True),
        (swallows_in_a_savepoint, IN_TRANSACTION, True),
        (swallows_in_a_savepoint, IN_TRANSACTION, False),
        (swallows_and_closes, SESSION, False),
    ],
)
def test_it_ends_the_same_migrations_in_both_rehearsals(
    code: Callable[[], None], timeout: str, atomic: bool
) -> None:
    with timeout_of_role(f"{timeout} = '800ms'"):
        reports = both_ways(migration(python(code), atomic=atomic))

    rolled_back, on_clone = (each.migrations[0] for each in reports)
    assert on_clone.outcome == rolled_back.outcome
    assert (on_clone.outcome == "failed") is (on_clone.error is not None)
    if on_clone.error is not None and rolled_back.error is not None:
        assert on_clone.error.message == rolled_back.error.message


def test_a_transaction_that_lasts_too_long_fails() -> None:
    if not query("SELECT FROM pg_settings WHERE name = 'transaction_timeout'"):
        pytest.skip("PostgreSQL has it from 17 on")
    sleeps = runs("SELECT pg_sleep(0.3)")
    with timeout_of_role("transaction_timeout = '500ms'"):
        report = on_a_copy(migration(sleeps, sleeps, runs("SELECT 1")))

    assert [each.outcome for each in report.migrations] == ["failed"]


def test_the_dry_runs_own_sessions_are_never_idle_for_too_long() -> None:
    """A migration whose session is in a transaction is not ended, and neither is what drops."""
    with timeout_of_role(f"{SESSION} = '800ms'"):
        report = on_a_copy(migration(python(pauses)))

    assert [each.outcome for each in report.migrations] == ["passed"]
    assert report.rolled_back
