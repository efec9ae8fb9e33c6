"""What few reports have: each line of it, in the formats that have words for it."""

from __future__ import annotations

import re
from dataclasses import replace
from html import unescape

import pytest

from django_confiture.dry_run.results import (
    Estimate,
    Failure,
    HookOutcome,
    Report,
    ReverseResult,
    StatementResult,
    Violations,
)
from django_confiture.dry_run.results.deploy import Break, Checked, Deploy
from django_confiture.dry_run.results.preflight import (
    LockCapacity,
    OtherSession,
    PlannedTable,
    Preflight,
)
from django_confiture.reports import render
from django_confiture.reports.html.text import PLAIN_WORDS
from django_confiture.reports.phrases import deploy
from django_confiture.reports.phrases.facts import statement_facts
from django_confiture.reports.phrases.problems import problems
from tests.reports.test_formats_agree import WORDED, words
from tests.support.report_cases import (
    FAILED,
    MIGRATION,
    OPERATION,
    REWRITTEN,
    SAFE,
    report_of,
)

LOCKS_ROWS = StatementResult("SELECT 1 FROM shop_order FOR UPDATE", 1, 5.0, 12, 100, rows_locked=12)


def page(report: Report) -> str:
    """Return all that the page says, the details too."""
    return " ".join(unescape(re.sub(r"<[^>]*>", " ", render(report, "html"))).split())


def with_statement(statement: StatementResult) -> Report:
    return report_of(replace(MIGRATION, operations=(replace(OPERATION, statements=(statement,)),)))


def test_rows_that_are_locked_and_not_written() -> None:
    report = with_statement(LOCKS_ROWS)
    assert "locks 12 rows" in words(report, "text")
    assert "locks 12 rows" in page(report)


def test_the_forecast_of_one_statement() -> None:
    slow = replace(LOCKS_ROWS, estimate=Estimate(8_000.0, 16_000.0, 40_000.0, 83))
    facts = list(statement_facts(slow, (), PLAIN_WORDS, forecast=True))
    assert "in production about 16.0 s (8.0 s to 40.0 s)" in [each.sentence for each in facts]
    quick = replace(LOCKS_ROWS, estimate=Estimate(0.1, 0.2, 0.4, 83))
    for unsaid, told in ((quick, True), (slow, False)):
        facts = list(statement_facts(unsaid, (), PLAIN_WORDS, forecast=told))
        assert "in production" not in [each.label for each in facts]


@pytest.mark.parametrize("form", WORDED)
def test_rows_in_the_way_that_are_too_many_to_count(form: str) -> None:
    assert FAILED.error is not None
    uncounted = Violations("shop_order", "shop_order_number_key", None, ("id=42",))
    failed = replace(FAILED, error=replace(FAILED.error, violations=uncounted))
    said = "rows of shop_order, such as id=42; they are too many to count in 5 s"
    assert said in words(report_of(failed), form)


@pytest.mark.parametrize("form", WORDED)
def test_what_could_not_be_tried_of_the_releases(form: str) -> None:
    untried = Deploy("unknown", checked=Checked(3, 0), not_checked=("shop.Order: no rights",))
    report = report_of(SAFE, deploy=untried)
    said = page(report) if form == "html" else words(report, form)
    assert "shop.Order: no rights" in said


def test_one_line_for_what_could_not_be_tried() -> None:
    untried = Deploy("unknown", checked=Checked(3, 0), not_checked=("a: no rights", "b: gone"))
    text = render(report_of(SAFE, deploy=untried), "text", verbosity=1)
    assert "2 parts of the releases could not be tried: -v 2" in text
    assert "no rights" not in text


def test_a_query_of_production_that_breaks() -> None:
    query = Break(None, "shop_order", "query", "42703", "no column", "SELECT", "shop.0002", 0)
    broken = report_of(SAFE, deploy=Deploy("neither", (query,), checked=Checked(1, 1)))
    assert "can't run a query of shop_order" in deploy.why_this_order(broken)


def test_a_prepared_transaction_that_is_the_oldest() -> None:
    prepared = OtherSession(None, "", "prepared", 61_000.0)
    seen = Preflight(
        tables=(PlannedTable("shop_order", 200_000, 35_000_000, 2),),
        not_known=(),
        sessions=1,
        longest=prepared,
        oldest_transaction=prepared,
        hidden_sessions=0,
        dead_space=(),
        max_dead_bytes=None,
        locks=LockCapacity(103, 0, 34_560),
        lock_timeout_ms=1000.0,
        yield_after_ms=None,
    )
    assert ", a prepared transaction" in page(report_of(SAFE, preflight=seen))


def test_a_verdict_on_sql_that_was_not_caught() -> None:
    why = "SQL reached the server without being caught."
    unseen = replace(
        OPERATION,
        rehearsed="not_rehearsed",
        reason=why,
        statements=(replace(LOCKS_ROWS, sql=None),),
    )
    said = f"blocks no one, as far as it could be measured: {why[:-1]}"
    assert said in words(report_of(replace(SAFE, operations=(unseen,))), "text")


def test_a_migration_that_was_stopped_is_not_one_that_fails() -> None:
    ended = Failure("QueryCanceled", "canceled", None, None, blames_migration=False)
    stopped = replace(SAFE, outcome="not_run", error=ended)
    assert "stopped in: its commit" in words(report_of(stopped, outcome="yielded"), "text")


def test_a_finding_without_advice() -> None:
    bare = replace(MIGRATION, findings=(replace(REWRITTEN, advice=""),))
    assert "instead" not in words(report_of(bare), "text")
    assert "instead" in words(report_of(MIGRATION), "text")


def test_undoing_one_of_two_migrations_fails() -> None:
    error = Failure("IrreversibleError", "it is irreversible", None, None)
    undone = ReverseResult(
        "irreversible", (SAFE, replace(MIGRATION, outcome="failed", error=error))
    )
    (found,) = [each for each in problems(report_of(SAFE, MIGRATION, reverse=undone))
                if "undone" in each.title]  # fmt: skip
    assert found.title == "shop.0002_total can't be undone"


def test_a_hook_that_was_skipped_takes_no_room_in_the_timeline() -> None:
    ran = HookOutcome("backfill", "AFTER_DDL", 5.0, 1200, "completed")
    skipped = HookOutcome("notify", "CLEANUP", 0.0, 0, "skipped", "not in a dry run")
    page = render(report_of(replace(MIGRATION, hooks=(ran, skipped))), "html")
    timeline = page.partition('<section id="timeline"')[2].partition("</section>")[0]
    assert "backfill" in timeline
    assert "notify" not in timeline
