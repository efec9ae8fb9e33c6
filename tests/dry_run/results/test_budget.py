"""The budget: what is over it, by which figure, and how the command ends."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db.migrations import RunSQL
from django.test.utils import override_settings

from django_confiture.dry_run.results import Exceeded, MigrationResult, Report
from django_confiture.dry_run.results.budget import Budget, judged, unknown_tables
from django_confiture.reports import FORMATS, render
from tests.cases.migrations_on_disk import Cases
from tests.management.test_migrate_dryrun import dry_run, in_json
from tests.support.dry_run import runs
from tests.support.report_cases import (
    FAILED,
    LOCKED,
    MIGRATION,
    REWRITTEN,
    SAFE,
    forecast,
    report_of,
)


def over(report: Report, **budget: Any) -> list[Exceeded]:
    return list(judged(report, Budget(**budget)).exceeded)


def test_without_a_budget_nothing_is_too_much() -> None:
    report = report_of(MIGRATION)

    assert judged(report, Budget()) == report


def test_what_blocks_for_too_long() -> None:
    (found,) = over(report_of(SAFE, MIGRATION), max_blocking_ms=500.0)

    assert found == Exceeded(
        budget="max_blocking",
        limit=500.0,
        figure=1600.0,
        basis="measured",
        migration="shop.0002_total",
        operation=0,
        relation="shop_order",
        message="--max-blocking 500 ms: shop.0002_total blocks reads and writes on shop_order for "
        "1.6 s on this database, as measured; see operation 1",
    )


def test_the_limit_itself_is_not_too_much() -> None:
    assert over(report_of(MIGRATION), max_blocking_ms=1600.0) == []


@pytest.mark.parametrize(
    ("budget", "expected"),
    [
        ({"max_blocking_ms": 1.0, "tables_ms": {"shop_order": 5000.0}}, []),
        ({"tables_ms": {"shop_order": 100.0}}, [("tables", 100.0)]),
        ({"max_blocking_ms": 9000.0, "tables_ms": {"shop_order": 100.0}}, [("tables", 100.0)]),
        ({"max_blocking_ms": 9000.0, "tables_ms": {"shop_line": 100.0}}, []),
    ],
)
def test_a_table_may_have_a_limit_of_its_own(
    budget: dict[str, Any], expected: list[tuple[str, float]]
) -> None:
    found = over(report_of(MIGRATION), **budget)

    assert [(each.budget, each.limit) for each in found] == expected
    assert all(each.message.startswith("--table shop_order 100 ms: ") for each in found)


def test_the_forecast_counts_where_there_is_one() -> None:
    blocking, lasting, wal = over(
        forecast(), max_blocking_ms=5000.0, max_duration_ms=5000.0, max_wal_bytes=1024**2
    )

    assert (blocking.figure, blocking.basis) == (16_000.0, "forecast")
    assert blocking.message.endswith(
        "for about 16.0 s in production, by forecast (8.0 s to 40.0 s); see operation 1"
    )
    assert (lasting.figure, lasting.basis) == (16_500.0, "forecast")
    assert (wal.figure, wal.basis) == (300 * 1024**2, "forecast")
    assert wal.message == (
        "--max-wal 1 MB: shop.0002_total writes 300 MB of WAL in production, by forecast; see "
        "operation 1"
    )


def test_the_forecast_counts_though_more_was_measured() -> None:
    assert over(forecast(), max_blocking_ms=16_000.0) == []


def test_a_table_that_production_does_not_know_counts_as_measured() -> None:
    report = forecast()
    (migration,) = report.migrations
    unknown = replace(migration, tables=(LOCKED,))

    (found,) = over(replace(report, migrations=(unknown,)), max_blocking_ms=500.0)

    assert (found.figure, found.basis) == (1600.0, "measured")


def test_what_takes_too_long_and_writes_too_much() -> None:
    lasting, wal = over(report_of(MIGRATION), max_duration_ms=1000.0, max_wal_bytes=4000)

    assert (lasting.budget, lasting.figure, lasting.basis) == ("max_duration", 1650.0, "measured")
    assert lasting.message == (
        "--max-duration 1.0 s: shop.0002_total takes 1.6 s on this database, as measured; see "
        "operation 1"
    )
    assert (wal.budget, wal.limit, wal.figure) == ("max_wal", 4000, 4096)


@pytest.mark.parametrize(
    ("fail_on", "severities"),
    [
        (None, []),
        ("failure", []),
        ("danger", ["danger"]),
        ("warning", ["danger", "warning"]),
    ],
)
def test_findings(fail_on: Any, severities: list[str]) -> None:
    every: Any = ("danger", "warning", "notice")
    findings = tuple(replace(REWRITTEN, severity=each) for each in every)

    found = over(report_of(replace(MIGRATION, findings=findings)), fail_on=fail_on)

    assert [each.message.rpartition(", ")[2].rstrip(")") for each in found] == severities
    assert all(each.figure == "type-change-rewrite" for each in found)


def test_accepted_findings_do_not_count() -> None:
    accepted = replace(REWRITTEN, silenced="the table has 40 rows")

    assert over(report_of(replace(MIGRATION, findings=(accepted,))), fail_on="warning") == []


def test_what_only_ran_first_does_not_count() -> None:
    first = replace(MIGRATION, rehearsed_first=True)

    assert over(report_of(first), fail_on="danger", max_blocking_ms=1.0) == []


@pytest.mark.parametrize("outcome", ["failed", "yielded"])
def test_what_is_worse_stays_worse(outcome: Any) -> None:
    report = judged(report_of(MIGRATION, outcome=outcome), Budget(fail_on="danger"))

    assert (report.outcome, len(report.exceeded)) == (outcome, 1)


def test_a_migration_that_fails_is_over_no_budget() -> None:
    failed = replace(FAILED, tables=(LOCKED,))

    assert over(report_of(failed), max_blocking_ms=1.0) == []


def test_a_migration_without_operations() -> None:
    slow = MigrationResult("shop", "0001", "0001", "forward", "passed", duration_ms=2000.0)

    (found,) = over(report_of(slow), max_duration_ms=1000.0)

    assert found.operation is None
    assert found.message.endswith("as measured")


def test_unknown_tables() -> None:
    budget = Budget(tables_ms={"shop_ordr": 1.0, "shop_order": 1.0, "zzz": 1.0})

    assert dict(unknown_tables(budget, {"shop_order", "shop_line"})) == {
        "shop_ordr": "there is no table 'shop_ordr' in this database; did you mean 'shop_order'?",
        "zzz": "there is no table 'zzz' in this database.",
    }


@pytest.mark.parametrize("output_format", FORMATS)
def test_every_format_says_it(output_format: str) -> None:
    report = judged(report_of(MIGRATION), Budget(max_blocking_ms=500.0))

    found = render(report, output_format)

    assert "--max-blocking 500 ms: shop.0002_total blocks" in " ".join(found.split())


# The command.


@pytest.fixture
def slow(cases: Cases) -> Cases:
    cases.add("0001_row", runs("CREATE TABLE cases_row AS SELECT i FROM generate_series(1, 99) i"))
    cases.migrate()
    cases.add("0002_slow", runs("ALTER TABLE cases_row ADD x int"), runs("SELECT pg_sleep(0.03)"))
    return cases


FLAGS = [
    (["--max-blocking", "10ms"], "max_blocking", "--max-blocking 10 ms: cases.0002_slow blocks "),
    (["--table", "cases_row=10ms"], "tables", "--table cases_row 10 ms: cases.0002_slow blocks "),
    (["--max-duration", "20ms"], "max_duration", "--max-duration 20 ms: cases.0002_slow takes "),
    (["--max-wal", "1B"], "max_wal", "--max-wal 1 bytes: cases.0002_slow writes "),
]


@pytest.mark.parametrize(("flags", "name", "message"), FLAGS)
def test_flags(slow: Cases, flags: list[str], name: str, message: str) -> None:
    document = in_json(*flags, code=3)

    assert document["outcome"] == "exceeded"
    (found,) = (each for each in document["exceeded"] if "receivers." not in each["message"])
    assert (found["budget"], found["basis"]) == (name, "measured")
    assert found["message"].startswith(message)
    if name == "max_duration":
        assert found["operation"] == 1


@pytest.mark.parametrize(
    "setting",
    [
        {"MAX_BLOCKING": "10ms"},
        {"TABLES": {"cases_row": "10ms"}},
        {"MAX_DURATION": "20ms"},
        {"MAX_WAL": "1B"},
    ],
)
def test_settings(slow: Cases, setting: dict[str, Any]) -> None:
    with override_settings(CONFITURE={"DRY_RUN": setting}):
        assert dry_run().code == 3


def test_findings_fail_where_it_is_asked_for(cases: Cases) -> None:
    cases.add("0001_row", runs("CREATE TABLE cases_row (id int, gone int)"))
    cases.migrate()
    cases.add("0002_drop", runs("ALTER TABLE cases_row DROP gone"))

    assert dry_run().code == 0
    assert dry_run("--fail-on", "danger").code == 0
    assert dry_run("--fail-on", "warning").code == 3
    with override_settings(CONFITURE={"DRY_RUN": {"FAIL_ON": "warning"}}):
        assert dry_run().code == 3
        assert dry_run("--fail-on", "failure").code == 0


def test_flags_win_over_settings(slow: Cases) -> None:
    given = {"MAX_BLOCKING": "1ms", "TABLES": {"cases_row": "1ms"}}
    with override_settings(CONFITURE={"DRY_RUN": given}):
        assert dry_run("--table", "cases_row=10s").code == 0


def test_the_text_report_says_it(slow: Cases) -> None:
    ran = dry_run("--max-blocking", "10ms")

    assert ran.out.startswith("Dry run of 1 migration: all would apply, over the budget")
    assert "\nOver the budget: --max-blocking 10 ms: cases.0002_slow blocks reads" in ran.out


def test_a_failure_wins(slow: Cases) -> None:
    slow.add("0003_fails", runs("SELECT 1 / 0"))

    assert in_json("--max-blocking", "10ms", code=1)["outcome"] == "failed"


def test_what_cannot_be_undone_wins(slow: Cases) -> None:
    slow.add("0003_stays", RunSQL("SELECT 1"))

    assert dry_run("--max-blocking", "10ms", "--reverse").code == 1


def test_a_table_that_does_not_exist(slow: Cases) -> None:
    ran = dry_run("--table", "cases_rwo=1s")

    assert ran.code == 2
    assert ran.err.endswith(
        "CommandError: --table cases_rwo: there is no table 'cases_rwo' in this database; "
        "did you mean 'cases_row'?"
    )


def test_a_table_of_the_settings_that_does_not_exist(slow: Cases) -> None:
    """It may be one of another database, so this is no error."""
    with override_settings(CONFITURE={"DRY_RUN": {"TABLES": {"cases_rwo": "1s"}}}):
        document = in_json()

    (warning,) = document["warnings"]
    assert warning.startswith('CONFITURE["DRY_RUN"]["TABLES"]: there is no table \'cases_rwo\'')


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--table", "x"], "--table x names no table and limit"),
        (["--table", "=1s"], "--table =1s names no table and limit"),
        (["--table", "x=soon"], "--table x=soon is 'soon', which is not a duration"),
        (["--max-blocking", "5"], "--max-blocking is '5', which is not a duration"),
        (["--max-wal", "5"], "--max-wal is '5', which is not a size"),
    ],
)
def test_values_that_are_none(slow: Cases, flags: list[str], message: str) -> None:
    ran = dry_run(*flags)

    assert ran.code == 2
    assert message in ran.err


def test_a_severity_that_does_not_exist(slow: Cases) -> None:
    with pytest.raises(CommandError, match="invalid choice: 'notice'"):
        call_command("migrate_dryrun", "--fail-on", "notice")


# Several reports of one run.


def test_reports_into_files(slow: Cases, tmp_path: Path) -> None:
    ran = dry_run(
        *("--report", f"json={tmp_path}/a.json", "--report", f"markdown={tmp_path}/b.md"),
        *("--format", "github"),
    )

    assert ran.out.startswith("::notice title=migrate_dryrun::Dry run of 1 migration")
    assert '"schema_version": 1' in (tmp_path / "a.json").read_text()
    assert "## Dry run of 1 migration" in (tmp_path / "b.md").read_text()
    assert ran.err.endswith(f"Report written to {tmp_path}/b.md.\n")


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("json", "'json' is not FORMAT=FILE, such as json=report.json"),
        ("json=", "'json=' is not FORMAT=FILE, such as json=report.json"),
        ("pdf=x", "'pdf' is not a format; choose from text, json, html"),
    ],
)
def test_reports_that_are_none(slow: Cases, value: str, message: str) -> None:
    with pytest.raises(CommandError, match=message):
        call_command("migrate_dryrun", "--report", value)


def test_a_report_that_has_no_place(slow: Cases, tmp_path: Path) -> None:
    ran = dry_run("--report", f"json={tmp_path}/missing/a.json")

    assert ran.code == 2
    assert f"--report json={tmp_path}/missing/a.json: there is no directory" in ran.err


def test_a_report_that_is_a_directory(slow: Cases, tmp_path: Path) -> None:
    ran = dry_run("--report", f"json={tmp_path}")

    assert ran.err == f"CommandError: --report json={tmp_path}: that is a directory."


def test_a_report_whose_disk_is_full(slow: Cases) -> None:
    ran = dry_run("--report", "json=/dev/full")

    assert (ran.code, ran.out) == (2, "")
    assert ran.err.endswith("CommandError: Cannot write /dev/full: No space left on device")


def test_a_report_with_an_impossible_name(slow: Cases, tmp_path: Path) -> None:
    ran = dry_run("--report", f"json={tmp_path}/{'x' * 300}")

    assert ran.code == 2
    assert "File name too long" in ran.err


def test_reports_asked_for_by_a_program(slow: Cases, tmp_path: Path) -> None:
    assert dry_run(report=[f"json={tmp_path}/a.json"]).code == 0
    assert (tmp_path / "a.json").exists()
