"""Reports made by hand, for the tests of every format."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

from django_confiture.backfills.forecasting.outlook import BackfillForecast, BackfillOutlook
from django_confiture.dry_run.results import (
    Blocked,
    CalibrationUsed,
    Database,
    Exceeded,
    Failure,
    Finding,
    HookOutcome,
    MigrationEstimate,
    MigrationResult,
    OperationResult,
    Production,
    ProductionDatabase,
    Range,
    Report,
    ReverseResult,
    Scan,
    SchemaChange,
    SequenceMove,
    StatementResult,
    TableLock,
    TableResult,
    Violations,
    Waiter,
    Write,
)

DATABASE = Database("default", "shop", "18.6", 8 * 1024 * 1024)

REWRITE = StatementResult(
    "ALTER TABLE shop_order\n  ALTER total TYPE bigint",
    executions=1,
    duration_ms=1500.0,
    rows_affected=None,
    wal_bytes=4096,
    locks=(TableLock("shop_order", "AccessExclusiveLock", inherited=False),),
    rewrites=("shop_order",),
    scans=(Scan("shop_order", 200_000, passes=2),),
    indexes_built=("shop_order_pkey",),
)
OPERATION = OperationResult(
    0,
    "AlterField",
    "Alter field total on order",
    "exact",
    "",
    1510.0,
    statements=(REWRITE,),
    line=10,
    end_line=14,
)
LOCKED = TableResult(
    "shop_order",
    "AccessExclusiveLock",
    reads_blocked_ms=1600.0,
    writes_blocked_ms=1600.0,
    blocked_by=REWRITE.text,
    rewritten=True,
    rows_scanned=400_000,
    rows_written=0,
)
REWRITTEN = Finding(
    "type-change-rewrite",
    "danger",
    "measured",
    "shop_order",
    0,
    "The new type of total makes PostgreSQL rewrite shop_order",
    "class Migration(migrations.Migration):\n    atomic = False",
    ("reads of shop_order blocked for 1.6 s here, until the commit", "22.6 MB of WAL"),
    fixable=True,
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
    findings=(REWRITTEN,),
    file="shop/migrations/0002_total.py",
    line=6,
)
SAFE = MigrationResult(
    "shop",
    "0001_note",
    "0001",
    "forward",
    "passed",
    duration_ms=12.0,
    operations=(replace(OPERATION, statements=(), duration_ms=10.0),),
    file="shop/migrations/0001_note.py",
    line=6,
)
FAILED = replace(
    MIGRATION,
    name="0003_unique",
    outcome="failed",
    error=Failure(
        "UniqueViolation",
        'could not create unique index "shop_order_number_key"',
        OPERATION.description,
        "CREATE UNIQUE INDEX shop_order_number_key ON shop_order (number)",
        Violations("shop_order", "shop_order_number_key", 12, ("id=42", "id=43")),
    ),
    findings=(),
    tables=(),
)


def report_of(*migrations: MigrationResult, **more: Any) -> Report:
    outcome = "failed" if any(m.outcome == "failed" for m in migrations) else "passed"
    return Report(DATABASE, more.pop("outcome", outcome), 2000.0, migrations, **more)


def forecast() -> Report:
    """Return a report with forecasts."""
    production = Production(
        2_000_000,
        Range(8_000.0, 16_000.0, 40_000.0),
        Range(8_000.0, 16_000.0, 40_000.0),
        ("about 640 writes to shop_order would wait up to 40 s (expected 16 s)",),
    )
    estimate = MigrationEstimate(
        low_ms=8_100.0,
        expected_ms=16_500.0,
        high_ms=41_000.0,
        confidence_percent=83,
        basis=("10 times the rows",),
        kind="migration",
        wal_bytes=300 * 1024**2,
    )
    migration = replace(
        MIGRATION, tables=(replace(LOCKED, production=production),), estimate=estimate
    )
    stats = ProductionDatabase("shop", 180006, "2026-11-20T08:00:00+00:00")
    used = CalibrationUsed("here.json", "2026-11-19T08:00:00+00:00", 180006, ("rewrite",))
    return report_of(migration, production=stats, calibration=used)


def vast(migrations: int, statements: int) -> Report:
    """Return a report of so many migrations, with so many operations of a statement each."""
    return report_of(*(_one_of_many(number, statements) for number in range(migrations)))


def _one_of_many(number: int, statements: int) -> MigrationResult:
    """Return one whose first statement rewrites a table, and whose others only lock it."""
    table = f"shop_table_{number % 300}"
    lock = TableLock(table, "AccessExclusiveLock", inherited=False)
    rewrite = replace(
        REWRITE,
        sql=f'ALTER TABLE "{table}" ALTER COLUMN "total" TYPE bigint USING "total"::bigint',
        locks=(lock,),
        rewrites=(table,),
        scans=(Scan(table, 200_000, passes=2),),
    )
    add = StatementResult(
        f'ALTER TABLE "{table}" ADD COLUMN "note" varchar(200) NULL', 1, 2.0, None, 4096, (lock,)
    )
    blocked = Blocked(5.0, 1510.0 + 10 * statements, "reads" if number % 2 else "writes")
    return replace(
        MIGRATION,
        name=f"{number:04}_alter_total_of_{table}",
        version=f"{number:04}",
        duration_ms=1510.0 + 10 * statements,
        operations=tuple(
            replace(
                OPERATION,
                index=index,
                description=f"Add field note_{index} to table" if index else OPERATION.description,
                duration_ms=10.0 if index else 1510.0,
                started_ms=1500.0 + 10 * index if index else 0.0,
                statements=(add if index else rewrite,),
            )
            for index in range(statements)
        ),
        tables=(replace(LOCKED, relation=table, blocked_by=rewrite.text, blocked=(blocked,)),),
        findings=(replace(REWRITTEN, relation=table),),
    )


def exceeded(migration: MigrationResult = MIGRATION, **more: Any) -> Exceeded:
    given = {
        "budget": "max_blocking",
        "limit": 500.0,
        "figure": 1600.0,
        "basis": "measured",
        "migration": migration.label,
        "operation": 0,
        "relation": "shop_order",
        "message": f"--max-blocking 500 ms: {migration.label} blocks writes on shop_order",
    }
    return Exceeded(**{**given, **more})


HOSTILE = {
    "script": "</script><script>alert(1)</script><img src=x onerror=alert(1)>",
    "end of details": "</details></summary>\n\n</code>",
    "backticks": "```\n# heading\n```` ` ``",
    "backtick at the ends": "`x`",
    "pipes": "a|b||c",
    "emphasis": "**a** __b__ *c* ~~d~~ $e$",
    "link": "[here](javascript:alert(1)) <https://evil.example> https://evil.example www.evil.com",
    "image": "![x](https://evil.example/x.png)",
    "mention": "@admin #1 !2 GH-3 &amp; :heart:",
    "escape sequence": "\x1b[31m\x1b]0;title\x07\x9b1m",
    "right to left": "\u202eabc\u2066",
    "workflow command": "%0A::error::x\n::add-mask::x\r\n##[error]x",
    "property": "a,line=1::b:c",
    "percent": "100% %25 %s %(x)s {x} {0}",
    "new line": "a\n- ✅ b\r\tc\u2028d",
    "quotes": "\"a\" 'b' \\",
    "longest identifier": "x" * 63,
    "letters of two columns": "表" * 21,
    "lone surrogate": "a\udcffb",
    "null": "a\x00b",
    "blank": " ",
}


def hostile(name: str) -> Report:
    """Return a report that has a hostile text in each place where one can come from outside."""
    statement = replace(
        REWRITE,
        sql=name,
        locks=(TableLock(name, "AccessExclusiveLock", inherited=False),),
        rewrites=(name,),
        scans=(Scan(name, 1),),
        writes=(Write(name, 1, 1, 1),),
        indexes_built=(name,),
        constraints=(name,),
        note=name,
    )
    hook = HookOutcome(name, "AFTER_DDL", 1.0, 1, "failed", name)
    operation = OperationResult(
        0, name, name, "not_rehearsed", name, 1.0, (statement,), (hook,), line=3, end_line=4
    )
    finding = replace(REWRITTEN, relation=name, message=name, advice=name, evidence=(name,))
    violations = Violations(name, name, 1, (name,))
    migration = replace(
        MIGRATION,
        app_label=name,
        name=name,
        operations=(operation,),
        hooks=(hook,),
        tables=(
            replace(LOCKED, relation=name, blocked_by=name, blocked=(Blocked(0.0, 9.0, "reads"),)),
        ),
        findings=(finding, replace(finding, silenced=name)),
        schema_changes=(SchemaChange("added", "table", name, name, name, name),),
        warnings=(name,),
        backfills=(
            BackfillOutlook(name, name, BackfillForecast(9, 1.0, 1.0, 2.0, 3.0, 9, 1, 9, 9), name),
        ),
        file=f"{name}/0001.py",
    )
    error = Failure(name, name, name, name, violations)
    failed = replace(migration, outcome="failed", error=error)
    return report_of(
        migration,
        failed,
        replace(migration, rehearsed_first=True),
        error=Failure("Error", name, None, None),
        warnings=(name,),
        exceeded=(exceeded(migration, relation=name, message=name),),
        since=name,
        sequences_moved=(SequenceMove(name, name, 1, 2),),
        yielded_to=(Waiter(1, name, 1.0, name, name),),
        reverse=ReverseResult(
            "different",
            (failed,),
            (SchemaChange("added", "table", name, name, name, name),),
            (name,),
            error,
        ),
    )


def everything() -> Report:
    """Return a report with something at each place."""
    return hostile("shop_thing")


_TIME = re.compile(r"\d[\d.,]* (?:ms|s|min)\b")
_SIZE = re.compile(r"\d[\d.,]*(?= (?:bytes|kB|MB|GB)\b)")


def normalized(text: str) -> str:
    """Return a sentence without the figures that no two runs share, whatever their units."""
    return _SIZE.sub("N", _TIME.sub("N ms", text))
