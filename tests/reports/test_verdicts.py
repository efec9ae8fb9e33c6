"""Verdicts are about the migration, whatever was tried before it or done outside SQL."""

from __future__ import annotations

import re
import time
from contextlib import suppress
from io import StringIO
from typing import Any

import pytest
from django.core.management import call_command
from django.db import DatabaseError, connection, transaction
from django.db.migrations import RunPython, RunSQL

from django_confiture.reports import render
from tests.cases.migrations_on_disk import Cases
from tests.support.dry_run import migration, passed, python, rehearse, runs, table

ADD = "ALTER TABLE dry_row ADD added integer"
LONG = "django_confiture.dry_run.findings.rules.writes.LONG_MS"


def ids(result: Any) -> set[str]:
    return {each.id for each in result.findings}


def test_samples_are_none_of_the_statements_work(cases: Cases) -> None:
    wide = "SELECT id, repeat(md5(id::text), 8) AS text FROM generate_series(1, 60000) id"
    cases.add("0001_table", RunSQL([f"CREATE TABLE cases_row AS {wide}", "ANALYZE cases_row"]))
    cases.migrate()
    cases.add("0002_add", RunSQL("ALTER TABLE cases_row ADD c text NOT NULL DEFAULT 'EUR'"))
    out = StringIO()

    call_command("migrate_dryrun", "cases", stdout=out, verbosity=0, samples=True)

    assert re.search(r"^ ok .* cases\.0002_add$", out.getvalue(), re.MULTILINE)
    assert "scan-blocks-writes" not in out.getvalue()


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch, scratch: None) -> None:
    """Call 0.2 s long."""
    monkeypatch.setattr(LONG, 200.0)


def sleeps() -> None:
    time.sleep(0.3)


def locks_and_sleeps() -> None:
    with connection.cursor() as cursor:
        cursor.execute("LOCK TABLE dry_row IN SHARE MODE")
    time.sleep(0.3)


@pytest.mark.parametrize(
    "operations",
    [
        [runs(ADD), python(sleeps)],
        [python(locks_and_sleeps)],
        [runs("LOCK TABLE dry_row IN SHARE MODE"), python(sleeps)],
        [runs(f"{ADD}; SELECT pg_sleep(0.3)")],
    ],
    ids=["no SQL", "in the same operation", "lock before", "in one script"],
)
def test_code_under_a_lock_is_found_without_sql_of_its_own(
    short: None, operations: list[Any]
) -> None:
    assert "work-while-locked" in ids(passed(*operations))


@pytest.mark.parametrize(
    "operations",
    [
        [python(sleeps), runs(ADD)],
        [runs("SELECT pg_sleep(0.3)"), runs(ADD)],
        [runs("ALTER TABLE dry_row ADD CHECK (pg_sleep(0.0004) IS NOT NULL)")],
    ],
    ids=["before the lock", "a query before the lock", "the lock's own statement"],
)
def test_what_is_no_work_under_a_lock(short: None, operations: list[Any]) -> None:
    assert "work-while-locked" not in ids(passed(*operations))


def test_a_non_atomic_migration_has_no_lock_any_more(short: None) -> None:
    assert "work-while-locked" not in ids(passed(runs(ADD), python(sleeps), atomic=False))


def test_what_blocks_for_long_is_not_ok(scratch: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("django_confiture.reports.phrases.harm.LONG_MS", 200.0)
    report = rehearse(migration(runs(ADD), python(sleeps)))

    text, markdown = (render(report, form) for form in ("text", "markdown"))
    assert re.search(r"^LOCKS .* cases\.0001_case", text, re.MULTILINE)
    assert "whatever" not in text + markdown
    assert "safe" not in markdown


def test_code_that_breaks_is_not_ok(cases: Cases) -> None:
    cases.add("0001_table", RunSQL("CREATE TABLE cases_row (id integer, name text)"))
    cases.migrate()
    cases.add("0002_drop", RunSQL("ALTER TABLE cases_row DROP COLUMN name"))
    out = StringIO()
    call_command("migrate_dryrun", "cases", stdout=out, verbosity=0)
    markdown = StringIO()
    call_command("migrate_dryrun", "cases", stdout=markdown, verbosity=0, format="markdown")

    assert re.search(r"^RISK .* cases\.0002_drop: Code that", out.getvalue(), re.MULTILINE)
    assert "1 warning and 1 notice" in out.getvalue()
    assert " is safe" not in markdown.getvalue()


def test_batches_are_not_kept_locked(scratch: None) -> None:
    def batches() -> None:
        with connection.cursor() as cursor:
            for start in range(0, 1000, 100):
                with transaction.atomic():
                    cursor.execute(
                        "UPDATE dry_row SET number = 1 WHERE id > %s AND id <= %s",
                        [start, start + 100],
                    )

    report = rehearse(migration(python(batches), atomic=False))

    found = table(report.migrations[0], "dry_row")
    assert (found.changed_in, len(found.row_locks)) == (10, 10)
    assert "writes 1,000 rows of dry_row in 10 transactions" in render(report, "text", verbosity=2)


def test_savepoints_are_no_transactions(scratch: None) -> None:
    def body() -> None:
        with connection.cursor() as cursor:
            for _ in range(5):
                with suppress(ZeroDivisionError), transaction.atomic():
                    cursor.execute("UPDATE dry_row SET number = 1")
                    raise ZeroDivisionError
            cursor.execute("UPDATE dry_row SET number = 2")

    assert table(passed(python(body)), "dry_row").changed_in == 1


def test_many_transactions_keep_the_longest_stretches(scratch: None) -> None:
    def rows() -> None:
        with connection.cursor() as cursor:
            for number in range(1, 301):
                cursor.execute("UPDATE dry_row SET number = 1 WHERE id = %s", [number])

    found = table(passed(python(rows), atomic=False), "dry_row")

    assert found.changed_in == 300
    assert 100 <= len(found.row_locks) < 200
    starts = [each.start_ms for each in found.row_locks]
    assert starts == sorted(starts)


def test_an_error_that_was_caught_is_said_to_be(cases: Cases) -> None:
    cases.add("0001_case", RunPython(swallows))
    out = StringIO()
    with pytest.raises(SystemExit):
        call_command("migrate_dryrun", "cases", stdout=out, verbosity=0)

    words = " ".join(out.getvalue().split())
    assert "division by zero" in words
    assert "(caught by the migration, but it had aborted the transaction" in words


def swallows(_apps: Any, _editor: Any) -> None:
    with connection.cursor() as cursor:
        with suppress(DatabaseError):
            cursor.execute("SELECT 1 / 0")
        cursor.execute("SELECT 1")
