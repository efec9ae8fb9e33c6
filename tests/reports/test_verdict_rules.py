"""The verdict on a migration, its rank and its bar, from results made by hand: exact words."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from django_confiture.dry_run.results import (
    Blocked,
    Failure,
    MigrationResult,
    Production,
    Range,
    Scan,
    StatementResult,
    TableResult,
    Violations,
)
from django_confiture.formatting import duration, size
from django_confiture.reports.phrases import harm
from django_confiture.reports.phrases.verdicts import Verdict, reason, verdict
from django_confiture.reports.phrases.wording import Words
from tests.support.report_cases import FAILED, LOCKED, MIGRATION, OPERATION, REWRITTEN, SAFE

WORDS = Words(lambda name: f"<{name}>", lambda text: f"[{text}]", duration, size)
WRITES_ONLY = replace(LOCKED, reads_blocked_ms=0.0)
BRIEF = replace(
    LOCKED, reads_blocked_ms=2.0, writes_blocked_ms=2.0, rewritten=False, rows_scanned=0
)
ROWS = replace(WRITES_ONLY, writes_blocked_ms=0.0, rewritten=False, rows_written=7)
WARNING = replace(REWRITTEN, severity="warning", message="Old code breaks\nat once")
NOTICE = replace(REWRITTEN, severity="notice", message="SET is local")
UNSEEN = replace(OPERATION, rehearsed="not_rehearsed", reason="SQL was not caught. It may\nwrite.")
SKIPPED = replace(OPERATION, rehearsed="skipped_by_router", reason="the router said no")
FORECAST = Production(9, Range(1.0, 2000.0, 3000.0), Range(1.0, 4000.0, 5000.0))


def of(*tables: TableResult, **more: Any) -> MigrationResult:
    return replace(MIGRATION, **{"tables": tables, "findings": (), "operations": (), **more})


def tables(number: int, table: TableResult = LOCKED) -> tuple[TableResult, ...]:
    return tuple(replace(table, relation=f"t{index}") for index in range(number))


def failed(violations: Violations | None) -> MigrationResult:
    error = Failure("Error", "no such thing\nLINE 1", None, None, violations)
    return replace(FAILED, error=error)


CASES: dict[str, tuple[MigrationResult, str, str, str]] = {
    "fails": (failed(None), "fails", "would fail: [no such thing]", ""),
    "fails on rows": (
        failed(Violations("t", "c", 2, ("id=1", "id=2"))),
        "fails",
        "would fail: [no such thing] (2 rows of <t>, such as <id=1, id=2>)",
        "",
    ),
    "fails in what is not exact": (
        replace(
            FAILED,
            error=Failure("Error", "no such thing", "Raw Python operation", None),
            operations=(OPERATION, UNSEEN),
        ),
        "fails",
        (
            "would fail: [no such thing]; that operation is not rehearsed exactly: [SQL was not "
            "caught. It may]"
        ),
        "",
    ),
    "fails before its operations, of which one is not exact": (
        replace(failed(None), operations=(OPERATION, UNSEEN)),
        "fails",
        "would fail: [no such thing]",
        "",
    ),
    "stopped": (
        replace(failed(None), outcome="not_run"),
        "stopped",
        "was stopped partway: [no such thing]",
        "",
    ),
    "not run": (of(outcome="not_run"), "skipped", "was not run", ""),
    "kept off by a router": (
        of(operations=(SKIPPED, SKIPPED)),
        "skipped",
        "does not run on this database: the router said no",
        "",
    ),
    "blocks reads and writes": (
        of(LOCKED),
        "locks",
        "blocks reads and writes on <shop_order> for 1.6 s",
        "reads and writes of <shop_order>",
    ),
    "blocks reads for less": (
        of(replace(LOCKED, reads_blocked_ms=100.0)),
        "locks",
        "blocks writes on <shop_order> for 1.6 s, reads for 100 ms",
        "writes of <shop_order>",
    ),
    "blocks in production": (
        of(replace(LOCKED, production=FORECAST)),
        "locks",
        ("blocks writes on <shop_order> for about 4.0 s in production, reads for about 2.0 s"),
        "writes of <shop_order>",
    ),
    "blocks and writes": (
        of(LOCKED, replace(ROWS, relation="b"), replace(ROWS, relation="a")),
        "locks",
        (
            "blocks reads and writes on <shop_order> for 1.6 s; writes 7 rows of <a> and keeps "
            "them locked; writes 7 rows of <b> and keeps them locked"
        ),
        "reads and writes of <shop_order>",
    ),
    "blocks six tables": (
        of(*tables(6)),
        "locks",
        (
            "blocks reads and writes on <t0> for 1.6 s; blocks reads and writes on <t1> for 1.6 s; "
            "blocks reads and writes on <t2> for 1.6 s; blocks reads and writes on <t3> for 1.6 s; "
            "and so on for 2 more tables"
        ),
        "reads and writes of <t0>, <t1>, <t2> and <t3>; 2 more tables",
    ),
    "blocks four tables": (
        of(*tables(4, BRIEF)),
        "safe",
        (
            "is safe: it blocks reads and writes on <t0> for 2 ms; blocks reads and writes on <t1> "
            "for 2 ms; blocks reads and writes on <t2> for 2 ms; blocks reads and writes on <t3> "
            "for 2 ms, whatever the table's size"
        ),
        "",
    ),
    "locks rows of five tables": (
        of(*tables(5, replace(ROWS, rows_written=0, row_locks=(Blocked(0.0, 9.0, "writes"),)))),
        "rows",
        (
            "keeps rows of <t0> locked; keeps rows of <t1> locked; keeps rows of <t2> locked; "
            "keeps rows of <t3> locked; and so on for 1 more table"
        ),
        "",
    ),
    "the longest first": (
        of(
            replace(WRITES_ONLY, relation="short", writes_blocked_ms=1100.0),
            replace(LOCKED, relation="long"),
            replace(LOCKED, relation="also"),
        ),
        "locks",
        (
            "blocks reads and writes on <also> for 1.6 s; blocks reads and writes on <long> for "
            "1.6 s; blocks writes on <short> for 1.1 s"
        ),
        "reads and writes of <also> and <long>; writes of <short>",
    ),
    "writes rows": (
        of(ROWS),
        "rows",
        "writes 7 rows of <shop_order> and keeps them locked",
        "writes 7 rows of <shop_order> and keeps them locked",
    ),
    "locks rows": (
        of(replace(ROWS, rows_written=0, row_locks=(Blocked(0.0, 9.0, "writes"),))),
        "rows",
        "keeps rows of <shop_order> locked",
        "keeps rows of <shop_order> locked",
    ),
    "only warned of": (
        of(findings=(NOTICE, WARNING)),
        "risk",
        "blocks no one; [old code breaks]",
        "[Old code breaks]",
    ),
    "the worst finding, whatever the order": (
        of(BRIEF, findings=(WARNING, replace(REWRITTEN, message="SQL is lost"), NOTICE)),
        "risk",
        "blocks reads and writes on <shop_order> for 2 ms; [SQL is lost]",
        "[SQL is lost]",
    ),
    "a danger that is silenced": (
        of(findings=(replace(REWRITTEN, silenced="known"), NOTICE)),
        "safe",
        "is safe: it blocks no one",
        "",
    ),
    "not caught": (
        of(replace(BRIEF, rows_scanned=0), operations=(UNSEEN,), findings=(NOTICE,)),
        "part",
        (
            "blocks reads and writes on <shop_order> for 2 ms, as far as it could be measured: "
            "[SQL was not caught. It may]"
        ),
        "[SQL was not caught. It may]",
    ),
    "not caught, without findings": (
        of(operations=(UNSEEN,)),
        "part",
        "blocks no one, as far as it could be measured: [SQL was not caught. It may]",
        "[SQL was not caught. It may]",
    ),
    "two reasons, one of them twice": (
        of(operations=(UNSEEN, UNSEEN, replace(UNSEEN, reason="It starts another process."))),
        "part",
        "blocks no one, as far as it could be measured: [SQL was not caught. It may] (1 more)",
        "[SQL was not caught. It may] (1 more)",
    ),
    "safe under a lock": (
        of(BRIEF),
        "safe",
        ("is safe: it blocks reads and writes on <shop_order> for 2 ms, whatever the table's size"),
        "",
    ),
    "safe": (of(), "safe", "is safe: it blocks no one", ""),
}


@pytest.mark.parametrize("name", CASES)
def test_the_verdict_and_its_reason(name: str) -> None:
    migration, mark, text, short = CASES[name]
    assert verdict(migration, WORDS) == Verdict(mark, text)  # type: ignore[arg-type]
    assert reason(migration, WORDS) == (short or ("" if mark == "safe" else text))


@pytest.mark.parametrize(
    ("migration", "worth"),
    [
        (SAFE, 0),
        (of(BRIEF), 0),
        (of(replace(BRIEF, reads_blocked_ms=0.0)), 0),
        (of(replace(BRIEF, rows_written=7)), 0),
        (of(ROWS), 1),
        (of(findings=(NOTICE,)), 1),
        (of(findings=(replace(NOTICE, silenced="known"),)), 0),
        (of(findings=(NOTICE, REWRITTEN)), 2),
        (of(LOCKED), 2),
        (of(replace(BRIEF, writes_blocked_ms=1000.0)), 2),
        (of(replace(BRIEF, writes_blocked_ms=999.0)), 0),
        (FAILED, 3),
    ],
)
def test_how_much_a_migration_deserves_a_look(migration: MigrationResult, worth: int) -> None:
    assert harm.worth(migration) == worth


WRITES = replace(OPERATION.statements[0], rewrites=(), scans=(), rows_affected=70)
MANY_ROWS = (replace(OPERATION, statements=(WRITES,)),)


COUNTED = replace(
    OPERATION.statements[0],
    rewrites=(),
    scans=(Scan("shop_order", 200_000),),
    started_ms=1.0,
    duration_ms=70.0,
)
LOCKED_AFTERWARDS = replace(
    BRIEF, rows_scanned=200_000, blocked=(Blocked(71.0, 73.0, "writes"), Blocked(0.0, 9.0, "rows"))
)


@pytest.mark.parametrize(
    ("counting", "table", "stops"),
    [
        (COUNTED, LOCKED_AFTERWARDS, False),
        (replace(COUNTED, started_ms=71.5), LOCKED_AFTERWARDS, True),
        (replace(COUNTED, executions=2), LOCKED_AFTERWARDS, True),
        (COUNTED, replace(LOCKED_AFTERWARDS, rows_scanned=200_001), True),
        (COUNTED, replace(LOCKED_AFTERWARDS, rows_scanned=None), True),
        (COUNTED, replace(LOCKED_AFTERWARDS, blocked=()), True),
    ],
)
def test_what_only_read_before_the_lock_stops_no_one(
    counting: StatementResult, table: TableResult, stops: bool
) -> None:
    """A hook that counts rows before the first operation, such as a validation."""
    assert harm.stops_writers(of(table, statements=(counting,))) is stops


RANKED = [
    FAILED,
    of(replace(LOCKED, writes_blocked_ms=1700.0)),
    of(LOCKED),
    of(replace(LOCKED, writes_blocked_ms=0.5)),
    of(findings=(REWRITTEN,)),
    of(BRIEF, findings=(REWRITTEN,)),
    of(ROWS, operations=MANY_ROWS),
    of(findings=(NOTICE,)),
    of(ROWS),
    of(),
    of(operations=MANY_ROWS),
    of(outcome="not_run"),
    of(operations=(SKIPPED,)),
]


def test_the_most_harmful_comes_first_and_what_did_not_run_last() -> None:
    assert harm.ranked(RANKED) == list(range(len(RANKED)))
    unequal = [RANKED[number] for number in (9, 8, 6, 4, 3, 2, 1, 0)]
    assert harm.ranked([of(outcome="not_run"), *unequal]) == [8, 7, 6, 5, 4, 3, 2, 1, 0]


def test_the_longest_stop_is_the_whole_bar() -> None:
    halves = [of(LOCKED), of(replace(LOCKED, writes_blocked_ms=3200.0)), of(BRIEF), SAFE]
    assert harm.shares(halves) == [0.5, 1.0, 0.0, 0.0]
    assert harm.shares([SAFE]) == [0.0]
    assert harm.shares([]) == []


def test_the_longest_stop_of_a_migration() -> None:
    assert harm.longest_stop(of(ROWS)) is None
    tied = of(LOCKED, replace(LOCKED, relation="z"), replace(LOCKED, writes_blocked_ms=9.0))
    assert harm.longest_stop(tied) == harm.Stop("z", 1600.0, forecast=False)
    ahead = of(replace(LOCKED, production=FORECAST), replace(LOCKED, relation="z"))
    assert harm.longest_stop(ahead) == harm.Stop("shop_order", 4000.0, forecast=True)
