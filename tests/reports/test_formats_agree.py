"""Text, Markdown and HTML say the same of one report: they differ in layout alone."""

from __future__ import annotations

import re
from dataclasses import replace
from html import unescape

import pytest

from django_confiture.dry_run.results import Failure, MigrationResult, Report, ReverseResult
from django_confiture.dry_run.results.budget import Budget, judged
from django_confiture.formatting import duration
from django_confiture.reports import render
from django_confiture.reports.phrases.headline import outcome, subject
from django_confiture.reports.phrases.wording import about
from tests.support.report_cases import FAILED, LOCKED, MIGRATION, SAFE, exceeded, report_of

WORDED = ("text", "markdown", "html")


def words(report: Report, form: str) -> str:
    """Return what a format says, without its markup and line breaks."""
    found = render(report, form, verbosity=2)
    if form == "html":
        found = found.partition("<body>")[2].partition('<section id="timeline"')[0]
        found = unescape(re.sub(r"<[^>]*>", "", found))
    return " ".join(found.replace("`", "").split())


def blocked(reads_ms: float, writes_ms: float) -> MigrationResult:
    table = replace(LOCKED, reads_blocked_ms=reads_ms, writes_blocked_ms=writes_ms)
    return replace(MIGRATION, tables=(table,))


@pytest.mark.parametrize("form", WORDED)
@pytest.mark.parametrize(
    ("reads_ms", "said"),
    [
        (0.0, "blocks writes on shop_order for"),
        (900.0, "blocks writes on shop_order for"),
        (1640.0, "blocks writes on shop_order for"),
        (1840.0, "blocks reads and writes on shop_order for"),
        (2000.0, "blocks reads and writes on shop_order for"),
    ],
)
def test_what_a_table_blocks(form: str, reads_ms: float, said: str) -> None:
    found = words(report_of(blocked(reads_ms, 2000.0)), form)
    assert said in found
    other = {"blocks writes on shop_order", "blocks reads and writes on shop_order"}
    other.remove(said.removesuffix(" for"))
    assert not [each for each in other if each in found]


@pytest.mark.parametrize(("reads_ms", "said"), [(1640.0, "writes"), (1840.0, "reads and writes")])
def test_the_budget_says_the_same(reads_ms: float, said: str) -> None:
    (over,) = judged(report_of(blocked(reads_ms, 2000.0)), Budget(max_blocking_ms=1.0)).exceeded
    assert f"blocks {said} on shop_order" in over.message


UNDONE = {
    "same": "",
    "different": ", but undoing them leaves another schema",
    "irreversible": ", but can't be undone",
    "failed": ", but undoing them fails",
}
LOST = Failure("AdminShutdown", "the connection is lost", None, None, blames_migration=False)
REPORTS = {
    "passed": report_of(SAFE, MIGRATION),
    "since": report_of(MIGRATION, since="origin/main"),
    "nothing": report_of(),
    "failed": report_of(FAILED),
    "stopped": report_of(SAFE, outcome="failed", error=LOST),
    "yielded": report_of(SAFE, outcome="yielded"),
    "over": report_of(MIGRATION, outcome="exceeded", exceeded=(exceeded(MIGRATION),)),
    **{f"reverse {each}": report_of(SAFE, reverse=ReverseResult(each)) for each in UNDONE},  # type: ignore[arg-type]
}


@pytest.mark.parametrize("form", WORDED)
@pytest.mark.parametrize("case", REPORTS)
def test_the_headline(case: str, form: str) -> None:
    report = REPORTS[case]
    found = words(report, form)
    assert subject(report) in found
    assert outcome(report, about if form == "markdown" else duration) in found


@pytest.mark.parametrize("form", WORDED)
def test_rows_that_stand_in_the_way(form: str) -> None:
    assert "12 rows of shop_order, such as id=42, id=43" in words(report_of(FAILED), form)


@pytest.mark.parametrize("form", WORDED)
def test_what_an_operation_does(form: str) -> None:
    operation = MIGRATION.operations[0]
    (statement,) = operation.statements
    both = (statement, replace(statement, sql="SELECT 1", indexes_built=("shop_second",)))
    migration = replace(MIGRATION, operations=(replace(operation, statements=both),))
    found = words_of_all(report_of(migration), form)
    for said in (
        "reads shop_order: 200,000 rows in 2 passes",
        "rewrites shop_order",
        "AccessExclusiveLock on shop_order, blocks reads and writes",
    ):
        assert said in found
    assert "shop_second" in found


def words_of_all(report: Report, form: str) -> str:
    found = render(report, form, verbosity=2)
    if form == "html":
        found = unescape(re.sub(r"<[^>]*>", "", found.partition("<body>")[2]))
    return " ".join(found.replace("`", "").split())
