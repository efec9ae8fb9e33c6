"""The reports, made from results alone: what they say, how wide, and that no name does harm."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

import django_confiture
from django_confiture.dry_run.results import (
    Database,
    Failure,
    HookOutcome,
    MigrationResult,
    OperationResult,
    Report,
    Scan,
    SequenceMove,
    StatementResult,
    TableLock,
    Waiter,
    Write,
)
from django_confiture.dry_run.results.deploy import Break, Deploy
from django_confiture.formatting import duration, size
from django_confiture.reports import FORMATS, render
from tests.support import report_cases
from tests.support.report_cases import REWRITE, REWRITTEN, SAFE, exceeded

UPDATE = StatementResult(
    "UPDATE shop_order SET total = %s",
    executions=3,
    duration_ms=10.0,
    rows_affected=600,
    wal_bytes=100,
    locks=(TableLock("shop_order", "RowExclusiveLock", inherited=True),),
    writes=(Write("shop_order", 0, 600, 0),),
)
LOCKED = replace(report_cases.LOCKED, rows_written=600)
OPERATION = OperationResult(
    0, "RunSQL", "Raw SQL operation", "exact", "", 1510.0, statements=(REWRITE, UPDATE)
)
MIGRATION = MigrationResult(
    "shop",
    "0002_total",
    "0002",
    "forward",
    "passed",
    duration_ms=1650.0,
    operations=(OPERATION,),
    tables=(LOCKED,),
)
DATABASE = Database("default", "shop", "18.6", 8 * 1024 * 1024)


def report_of(*migrations: MigrationResult, **more: Any) -> Report:
    outcome = "failed" if any(m.outcome == "failed" for m in migrations) else "passed"
    return Report(DATABASE, more.pop("outcome", outcome), 2000.0, migrations, **more)


def text(*migrations: MigrationResult, verbosity: int = 2, **more: Any) -> str:
    return render(report_of(*migrations, **more), "text", verbosity=verbosity)


def flat(report: str) -> str:
    return " ".join(report.split())


def test_the_text_report() -> None:
    assert text(MIGRATION, sequences_moved=(SequenceMove("shop", "shop_seq", 1, 2),)) == (
        """\
Dry run of 1 migration: it would stop writers for 1.6 s on shop_order

LOCKS   1.6 s ██████ shop.0002_total
                     blocks reads and writes on shop_order for 1.6 s; took 1.6 s

shop.0002_total  1.6 s
  1.  Raw SQL operation
     time     1.5 s
     writes   600 rows
     reads    shop_order: 200,000 rows in 2 passes
     rewrites shop_order
     builds   shop_order_pkey
     takes    AccessExclusiveLock on shop_order, blocks reads and writes
     1.5 s    ALTER TABLE shop_order ALTER total TYPE bigint
     10 ms    UPDATE shop_order SET total = %s (3 times)

1 operation rehearsed exactly, 0 in another form, 0 in part or not at all. Times
are those of this database, not of production.
Sequences moved, which no rollback undoes: shop_seq.
On shop, PostgreSQL 18.6, 8 MB. Everything was rolled back.
"""
    )


def test_verbosity_1_has_a_line_for_each_migration() -> None:
    quick = replace(MIGRATION, name="0003_quick", tables=(replace(LOCKED, writes_blocked_ms=90.0),))
    calm = replace(MIGRATION, name="0001_calm", tables=(), operations=())

    assert text(calm, quick, MIGRATION, verbosity=1) == (
        """\
Dry run of 3 migrations: 2 of 3 would stop writers, the longest for 1.6 s on
shop_order

LOCKS   1.6 s ██████ shop.0002_total: reads and writes of shop_order
LOCKS   90 ms ▍      shop.0003_quick: reads and writes of shop_order
 ok                  shop.0001_calm

2 operations rehearsed exactly, 0 in another form, 0 in part or not at all.
Times are those of this database, not of production.
-v 2 shows each operation, what proves the findings, and better code.
On shop, PostgreSQL 18.6, 8 MB. Everything was rolled back.
"""
    )


@pytest.mark.parametrize("name", ["0002_total", "0002_" + "very_" * 30 + "long"])
def test_ten_migrations_fit_on_a_screen(name: str) -> None:
    """A terminal has 24 lines of 80 columns, and each migration has its line."""
    tables = tuple(replace(LOCKED, relation=f"shop_{number}") for number in range(9))
    migrations = [replace(MIGRATION, name=f"{n}{name}", tables=tables) for n in range(10)]
    broken = Break(
        "shop.Order", "shop_order", "insert", "23502", 'null value in column "a"', "", "", None
    )
    found = text(
        *migrations,
        verbosity=1,
        warnings=tuple("something to know, at length " * 9 for _ in range(9)),
        sequences_moved=(SequenceMove("shop", "shop_seq", 1, 2),),
        deploy=Deploy("code_first", old_code=(broken,) * 9),
        dead_bytes=3 * 1024**2,
        exceeded=tuple(exceeded(each) for each in migrations),
    ).splitlines()

    assert len(found) <= 24
    assert max(len(line) for line in found) <= 80
    assert sum(line.startswith("LOCKS") for line in found) == 10


def test_a_long_plan_counts_what_is_harmless() -> None:
    calm = replace(MIGRATION, tables=(), operations=())
    many = [replace(calm, name=f"{n:04}_calm") for n in range(30)]
    found = text(MIGRATION, *many, verbosity=1)

    assert "LOCKS   1.6 s ██████ shop.0002_total" in found
    assert "30 more migrations do no harm: -v 2" in found
    many[-1] = replace(many[-1], outcome="not_run")
    found = text(MIGRATION, *many, verbosity=1)
    assert " ok                  29 more migrations do no harm: -v 2" in found
    assert " --                  1 more migration did not run: -v 2" in found


def test_a_failure_of_what_is_not_exact_is_in_doubt() -> None:
    error = Failure("AssertionError", "locked", "Raw Python operation", None)
    unknown = replace(OPERATION, rehearsed="not_rehearsed", reason="It reads pg_locks.")
    failed = replace(MIGRATION, outcome="failed", error=error, operations=(unknown,))

    found = text(failed, verbosity=1)

    assert "  but      that operation is not rehearsed exactly: It reads pg_locks." in found
    assert "not rehearsed exactly" not in text(
        replace(failed, operations=(OPERATION,)), verbosity=1
    )


def test_a_long_plan_says_which_router_keeps_migrations_off() -> None:
    calm = replace(MIGRATION, tables=(), operations=())
    kept_off = replace(OPERATION, rehearsed="skipped_by_router", reason="use --database other")
    many = [replace(calm, name=f"{n:04}_calm") for n in range(30)]
    many[-2:] = [replace(each, operations=(kept_off,)) for each in many[-2:]]

    found = text(*many, verbosity=1)

    assert "28 migrations do no harm: -v 2" in found
    assert "2 migrations not for this database: use --database other" in found


def test_a_long_plan_lists_what_could_not_be_measured() -> None:
    calm = replace(MIGRATION, tables=(), operations=())
    unknown = replace(OPERATION, rehearsed="not_rehearsed", reason="It starts another process.")
    many = [replace(calm, name=f"{n:04}_calm") for n in range(30)]
    many[-1] = replace(many[-1], operations=(unknown,))

    found = text(*many, verbosity=1)

    assert "PART                 shop.0029_calm: It starts another process" in found
    assert "29 more migrations do no harm: -v 2" in found


def test_verbosity_3_adds_what_each_statement_did() -> None:
    lines = [line.strip() for line in text(MIGRATION, verbosity=3).splitlines()]

    first = lines.index("1.5 s    ALTER TABLE shop_order ALTER total TYPE bigint")
    assert lines[first + 1 : first + 6] == [
        "reads    shop_order: 200,000 rows in 2 passes",
        "rewrites shop_order",
        "builds   shop_order_pkey",
        "writes   4 kB of WAL",
        "takes    AccessExclusiveLock on shop_order, blocks reads and",
    ]
    second = lines.index("10 ms    UPDATE shop_order SET total = %s (3 times)")
    assert lines[second + 1 : second + 4] == [
        "writes   600 rows",
        "takes    RowExclusiveLock on shop_order, held since before",
        "rows     shop_order: 600 updated",
    ]
    assert "held since before" not in text(MIGRATION, verbosity=2)


def test_statements_are_shown_with_verbosity_2() -> None:
    lines = [line.strip() for line in text(MIGRATION, verbosity=2).splitlines()]

    assert "1.5 s    ALTER TABLE shop_order ALTER total TYPE bigint" in lines
    assert "10 ms    UPDATE shop_order SET total = %s (3 times)" in lines


@pytest.mark.parametrize(
    ("table", "verdict"),
    [
        ({}, "LOCKS 1.6 s ██████ shop.0002_total blocks reads and writes on shop_order for 1.6 s"),
        ({"reads_blocked_ms": 0.0}, "blocks writes on shop_order for 1.6 s"),
        (
            {"reads_blocked_ms": 500.0},
            "blocks writes on shop_order for 1.6 s, reads for 500 ms",
        ),
        (
            {"reads_blocked_ms": 0.0, "writes_blocked_ms": 0.0},
            "ROWS shop.0002_total writes 600 rows of shop_order and keeps them locked",
        ),
    ],
)
def test_verdicts(table: dict[str, Any], verdict: str) -> None:
    assert verdict in flat(text(replace(MIGRATION, tables=(replace(LOCKED, **table),))))


def test_the_verdict_of_what_does_not_grow() -> None:
    short = replace(LOCKED, rewritten=False, rows_scanned=0, rows_written=0)
    short = replace(short, reads_blocked_ms=9.0, writes_blocked_ms=9.0)
    add = replace(MIGRATION, tables=(short,), operations=(), findings=())
    long = replace(add, tables=(replace(short, reads_blocked_ms=1e3, writes_blocked_ms=1e3),))

    assert (
        "ok 9 ms shop.0002_total is safe: it blocks reads and writes on shop_order for 9 ms, what"
        in flat(text(add))
    )
    assert "ok shop.0002_total is safe: it blocks no one; took 1.6 s" in flat(
        text(replace(add, tables=()))
    )
    assert "██████ shop.0002_total blocks reads and writes on shop_order for 1.0 s; took" in flat(
        text(long)
    )


@pytest.mark.parametrize(
    ("message", "said"),
    [
        ("The running release can no longer UPDATE", "the running release can no longer UPDATE"),
        ("CREATE TABLE is not all", "CREATE TABLE is not all"),
        ("shop_order is renamed", "shop_order is renamed"),
    ],
)
def test_a_finding_goes_on_after_the_verdict(message: str, said: str) -> None:
    risk = replace(SAFE, tables=(), findings=(replace(REWRITTEN, message=message),))
    assert f"shop.0001_note blocks no one; {said}" in flat(text(risk))


def test_a_failure() -> None:
    error = Failure(
        "UniqueViolation",
        'duplicate key value violates unique constraint "x"\nDETAIL:  Key (a)=(1) exists.',
        "Raw SQL operation",
        "INSERT INTO t VALUES (%s)",
    )
    failed = replace(MIGRATION, outcome="failed", error=error)
    pending = MigrationResult("shop", "0003_next", "0003", "forward", "not_run")

    found = flat(text(failed, pending))

    assert found.startswith("Dry run of 2 migrations: shop.0002_total would fail")
    verdict = (
        "FAIL 1.6 s ██████ shop.0002_total would fail: duplicate key value violates unique "
        'constraint "x" --'
    )
    assert verdict in found
    assert "UniqueViolation" in found
    assert "INSERT INTO t VALUES (%s)" in found
    assert "-- shop.0003_next was not run" in found


@pytest.mark.parametrize("name", ["text", "markdown", "html"])
def test_receivers_that_were_not_wholly_rehearsed_are_counted(name: str) -> None:
    partly = replace(OPERATION, name="app.refresh", rehearsed="not_rehearsed", reason="on_commit")
    receivers = MigrationResult(
        "receivers", "post_migrate", "post_migrate", "forward", "passed", operations=(partly,)
    )
    found = flat(render(report_of(MIGRATION, receivers=(receivers,)), name, verbosity=2))
    assert "0 in part or not at all. 1 receiver in part or not at all." in found
    assert "receiver in part" not in flat(render(report_of(MIGRATION), name, verbosity=2))


def test_what_else_is_told() -> None:
    hook = HookOutcome("backfill", "AFTER_DDL", 5.0, 1200, "completed")
    skipped = HookOutcome("notify", "CLEANUP", 0.0, 0, "skipped", "not in a dry run")
    substituted = replace(
        OPERATION, rehearsed="substituted", reason="Its plain form was measured.", hooks=(hook,)
    )
    migration = replace(
        MIGRATION,
        direction="backward",
        operations=(substituted,),
        hooks=(skipped,),
        commit_ms=12.0,
        warnings=("A real migration would also call 2 on_commit callbacks.",),
    )

    found = flat(
        text(
            migration,
            dead_bytes=3 * 1024**2,
            warnings=("1 connection was opened past Django's.",),
            error=Failure("ValueError", "receiver failed", None, None),
            yielded_to=(Waiter(42, "web", 250.0, "shop_order", "UPDATE"),),
        )
    )

    for part in (
        "shop.0002_total (backwards)",
        "Its plain form was measured.",
        "backfill (AFTER_DDL): 1,200 rows in 5 ms",
        "notify (CLEANUP) skipped: not in a dry run",
        "commit 12 ms to check the deferred constraints",
        "A real migration would also call 2 on_commit callbacks.",
        "0 operations rehearsed exactly, 1 in another form, 0 in part or not at all.",
        "1 connection was opened past Django's.",
        "receiver failed",
        "session 42 (web), whose UPDATE on shop_order had waited 250 ms",
        "run it in a quieter hour, on a clone of a database that no one uses (--clone-of ALIAS)",
        "Dead space left until VACUUM: 3 MB.",
    ):
        assert part in found


def test_rows_that_parallel_workers_hide_are_every_row() -> None:
    hidden = replace(REWRITE, scans=(Scan("shop_order", None),))
    operation = replace(OPERATION, statements=(hidden,))

    assert "reads shop_order: every row" in flat(text(replace(MIGRATION, operations=(operation,))))


def test_color_only_where_it_is_asked_for() -> None:
    assert "\x1b[" in render(report_of(MIGRATION), "text", color=True)
    assert "\x1b" not in text(MIGRATION)


HOSTILE = {
    "markup": "[bold]evil[/bold] [/] [red]",
    "a closing tag alone": "[/]",
    "a link": "[link=file:///etc/passwd]here[/link]",
    "escape sequence": "\x1b[31m\x1b]0;title\x07\x9b1m",
    "new line": "a\nEverything was rolled back.\r\tb",
    "emoji code": ":heart: :x:",
    "backslashes": "a\\",
    "right to left": "\u202eabc",
    "nothing to break at": "x" * 500,
    "letters of two columns": "表" * 200,
}


def everywhere(name: str) -> Report:
    """Return a report that has a hostile text in each place where one can come from outside."""
    statement = replace(
        REWRITE,
        sql=name,
        locks=(TableLock(name, "AccessExclusiveLock", inherited=False),),
        rewrites=(name,),
        scans=(Scan(name, 1),),
        writes=(Write(name, 1, 1, 1),),
        indexes_built=(name,),
    )
    hook = HookOutcome(name, "AFTER_DDL", 1.0, 1, "failed", name)
    operation = OperationResult(
        0, "RunSQL", name, "substituted", name, 1.0, statements=(statement,), hooks=(hook,)
    )
    migration = replace(
        MIGRATION,
        name=name,
        operations=(operation,),
        hooks=(hook,),
        tables=(replace(LOCKED, relation=name, blocked_by=name),),
        warnings=(name,),
    )
    failed = replace(migration, outcome="failed", error=Failure("Error", name, name, name))
    return report_of(
        migration,
        failed,
        error=Failure("Error", name, None, None),
        warnings=(name,),
        sequences_moved=(SequenceMove(name, name, 1, 2),),
        yielded_to=(Waiter(1, name, 1.0, name, "UPDATE"),),
    )


@pytest.mark.parametrize("name", HOSTILE.values(), ids=HOSTILE)
def test_no_name_does_harm_in_a_terminal(name: str) -> None:
    found = render(everywhere(name), "text", verbosity=3)

    assert all(character.isprintable() or character == "\n" for character in found)
    ending = "\nOn shop, PostgreSQL 18.6, 8 MB. Everything was rolled back.\n"
    assert found.count("\nEverything was rolled back.") == 0
    assert found.count(ending) == 1
    if name.isprintable() and len(name) < 40:
        assert name in flat(found)
    assert all(len(line) <= 80 for line in found.splitlines())


@pytest.mark.parametrize("name", HOSTILE.values(), ids=HOSTILE)
def test_any_name_is_kept_in_json(name: str) -> None:
    document = json.loads(render(everywhere(name), "json"))

    (statement,) = document["migrations"][0]["operations"][0]["statements"]
    assert statement["sql"] == name
    assert statement["locks"][0]["relation"] == name


def test_the_json_report() -> None:
    document = json.loads(render(report_of(MIGRATION), "json"))

    assert document["schema_version"] == 1
    assert document["tool"] == {
        "name": "django-confiture",
        "version": django_confiture.__version__,
    }
    assert document["coverage"] == {
        "exact": 1,
        "substituted": 0,
        "not_rehearsed": 0,
        "skipped_by_router": 0,
        "unseen": 0,
    }
    assert document["migrations"][0]["tables"][0]["reads_blocked_ms"] == 1600.0


def test_every_format_ends_with_a_new_line() -> None:
    for name in FORMATS:
        assert render(report_of(MIGRATION), name).endswith("\n")


@pytest.mark.parametrize(
    ("ms", "shown"),
    [
        (0.0, "<1 ms"),
        (0.99, "<1 ms"),
        (1.0, "1 ms"),
        (999.4, "999 ms"),
        (999.6, "1.0 s"),
        (1000.0, "1.0 s"),
        (59_960.0, "1.0 min"),
        (90_000.0, "1.5 min"),
    ],
)
def test_durations(ms: float, shown: str) -> None:
    assert duration(ms) == shown


@pytest.mark.parametrize(
    ("count", "shown"),
    [
        (0, "0 bytes"),
        (1023, "1023 bytes"),
        (1024, "1 kB"),
        (1_048_500, "1 MB"),
        (8 * 1024**2, "8 MB"),
        (3 * 1024**3, "3 GB"),
        (2 * 1024**4, "2.0 TB"),
    ],
)
def test_sizes(count: int, shown: str) -> None:
    assert size(count) == shown
