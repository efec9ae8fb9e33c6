"""The chains of hashes, and retention."""

from __future__ import annotations

import re
from datetime import datetime
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.apps import apps
from django.core.management import CommandError, call_command
from django.db import connection, migrations
from pytest_django import Settings

from django_confiture import RunHook
from django_confiture.history import migrations as history_migrations
from tests.cases.migrations_on_disk import Cases, query
from tests.support import recording


def execute(sql: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(sql)


@pytest.fixture
def ledger(history: None, cases: Cases) -> Cases:
    """Three executions, one with a statement and a hook; and a dry run that failed."""
    cases.add("0001_table", migrations.RunSQL("CREATE TABLE cases_row ()", "DROP TABLE cases_row"))
    cases.add("0002_hook", RunHook("tests.support.recording.ForwardRecord", options={"name": "h"}))
    cases.add("0003_empty")
    cases.add("0004_fails", migrations.RunSQL("nonsense"))
    with recording.recording():
        with pytest.raises(SystemExit):
            call_command("migrate_dryrun", "cases", verbosity=0, output=Path("/dev/null"))
        cases.migrate("0003")
    return cases


def run(command: str, *args: str) -> tuple[str, int | str | None]:
    out = StringIO()
    code: int | str | None = 0
    try:
        call_command(f"confiture_{command}", *args, stdout=out, no_color=True)
    except SystemExit as error:
        code = error.code
    return out.getvalue(), code


def test_what_was_written(ledger: Cases) -> None:
    out, code = run("history_verify")
    assert code == 0
    assert re.fullmatch(
        "The executions are unchanged; the last is 3, hash [0-9a-f]{64}.\n"
        "The dry runs are unchanged; the last is 1, hash [0-9a-f]{64}.\n",
        out,
    )


EMPTY = (
    "The executions are unchanged; there are none.\nThe dry runs are unchanged; there are none.\n"
)


def test_nothing_was_written(history: None) -> None:
    assert run("history_verify") == (EMPTY, 0)


EXECUTION = "confiture_history_migrationexecution"
STATEMENT = "confiture_history_statementexecution"
HOOK = "confiture_history_hookexecution"
DRY_RUN = "confiture_history_dryrun"
FORECAST = "confiture_history_forecast"
HEAD = "confiture_history_ledgerhead"
DELETE = (
    f"DELETE FROM {HOOK} WHERE execution_id IN (SELECT id FROM {EXECUTION} WHERE {{where}});"
    f"DELETE FROM {STATEMENT} WHERE execution_id IN (SELECT id FROM {EXECUTION} WHERE {{where}});"
    f"DELETE FROM {EXECUTION} WHERE {{where}}"
)


HEAD_OF_2 = f"UPDATE {HEAD} SET last_number = 2 WHERE last_number = 3"


@pytest.mark.parametrize(
    ("sql", "problems"),
    [
        (f"UPDATE {EXECUTION} SET os_user = 'mallory' WHERE number = 2", ["row 2 was changed"]),
        (
            f"UPDATE {EXECUTION} SET started_at = started_at - interval '1 ms' WHERE number = 3",
            ["row 3 was changed"],
        ),
        (f"UPDATE {EXECUTION} SET duration_ms = 1 WHERE number = 1", ["row 1 was changed"]),
        (f"UPDATE {STATEMENT} SET sql = 'x' WHERE operation = 0", ["row 1 was changed"]),
        (f"DELETE FROM {STATEMENT} WHERE operation = 0", ["row 1 was changed"]),
        (f"UPDATE {HOOK} SET rows = rows + 1", ["row 2 was changed"]),
        (f"UPDATE {HOOK} SET started_at = started_at - interval '1 s'", ["row 2 was changed"]),
        (f"DELETE FROM {HOOK}", ["row 2 was changed"]),
        (DELETE.format(where="number = 2"), ["row 2 was deleted"]),
        (DELETE.format(where="number < 3"), ["rows 1 to 2 were deleted"]),
        (DELETE.format(where="number = 3"), ["row 3 was deleted"]),
        (DELETE.format(where="true"), ["rows 1 to 3 were deleted"]),
        (
            f"UPDATE {EXECUTION} SET hash = repeat('0', 64) WHERE number = 3",
            ["row 3 was changed", "row 3 is not the last that was written"],
        ),
        (
            f"UPDATE {EXECUTION} SET hash = repeat('0', 64) WHERE number = 1",
            ["row 1 was changed", "row 2 does not follow the one before it"],
        ),
        (
            f"{DELETE.format(where='number = 3')}; {HEAD_OF_2}",
            [
                "the head of the executions, which says where they begin and end, was changed",
                "row 2 is not the last that was written",
            ],
        ),
        (
            f"UPDATE {HEAD} SET pruned_number = 1 WHERE last_number = 3",
            [
                "the head of the executions, which says where they begin and end, was changed",
                "row 1 was added where the ledger was pruned",
                "row 2 does not follow the one before it",
            ],
        ),
        (
            f"DELETE FROM {HEAD} WHERE ledger = 'executions'",
            ["the head of the executions, which says where they begin and end, was deleted"],
        ),
        (
            f"UPDATE {HEAD} SET ledger = 'none' WHERE ledger = 'dry runs'",
            ["the head of the dry runs, which says where they begin and end, was deleted"],
        ),
        (
            f"TRUNCATE {HEAD}, {EXECUTION}, {DRY_RUN} CASCADE",
            [
                "the head of the executions, which says where they begin and end, was deleted",
                "the head of the dry runs, which says where they begin and end, was deleted",
            ],
        ),
        (f"UPDATE {DRY_RUN} SET verdict = 'passed'", ["dry run 1 was changed"]),
        (f"UPDATE {DRY_RUN} SET report = replace(report, 'failed', '')", ["dry run 1 was changed"]),
        (f"UPDATE {FORECAST} SET estimate = '{{}}'", ["dry run 1 was changed"]),
        (f"DELETE FROM {FORECAST} WHERE name = '0003_empty'", ["dry run 1 was changed"]),
        (f"DELETE FROM {FORECAST}; DELETE FROM {DRY_RUN}", ["dry run 1 was deleted"]),
    ],
)
def test_what_was_changed_shows(ledger: Cases, sql: str, problems: list[str]) -> None:
    execute(sql)
    out, code = run("history_verify")
    assert out.splitlines() == [f"The ledger was tampered with: {p}." for p in problems]
    assert code == 1


def test_a_row_that_was_forged(ledger: Cases) -> None:
    columns = (
        "database, app_label, name, direction, outcome, error_type, attempts, blockers,"
        " started_at, duration_ms, os_user, host"
    )
    execute(
        f"INSERT INTO {EXECUTION} (number, {columns}, previous_hash, hash)"
        f" SELECT 4, {columns}, hash, hash FROM {EXECUTION} WHERE number = 3"
    )
    assert run("history_verify")[0].splitlines() == [
        "The ledger was tampered with: row 4 was changed.",
        "The ledger was tampered with: row 4 is not the last that was written.",
    ]


def test_the_break_stays_when_the_head_was_deleted(ledger: Cases) -> None:
    execute(f"{DELETE.format(where='number = 3')}; DELETE FROM {HEAD} WHERE ledger = 'executions'")
    ledger.migrate("zero")
    assert run("history_verify")[0].splitlines()[0] == (
        "The ledger was tampered with: row 3 does not follow the one before it."
    )


def test_the_break_stays_when_all_was_deleted(ledger: Cases) -> None:
    execute(f"TRUNCATE {HEAD}, {EXECUTION}, {DRY_RUN} CASCADE")
    ledger.migrate("0002")
    call_command("migrate_dryrun", "cases", "0003", verbosity=0, output=Path("/dev/null"))
    assert run("history_verify")[0].splitlines() == [
        "The ledger was tampered with: row 1 does not follow the one before it.",
        "The ledger was tampered with: dry run 1 does not follow the one before it.",
    ]


def test_a_new_secret_key(ledger: Cases, settings: Settings) -> None:
    settings.SECRET_KEY, settings.SECRET_KEY_FALLBACKS = "new", [settings.SECRET_KEY]
    ledger.migrate("0002")
    assert run("history_verify")[1] == 0
    settings.SECRET_KEY_FALLBACKS = []
    found = run("history_verify")[0]
    assert re.findall("(?:row|dry run) . was changed", found) == [
        "row 1 was changed",
        "row 2 was changed",
        "row 3 was changed",
        "dry run 1 was changed",
    ]


def test_it_does_not_depend_on_use_tz(ledger: Cases, settings: Settings) -> None:
    settings.USE_TZ = False
    assert run("history_verify")[1] == 0
    ledger.migrate("0002")
    settings.USE_TZ = True
    assert run("history_verify")[1] == 0


@pytest.mark.parametrize("fold", [0, 1])
def test_the_hour_that_comes_twice_is_no_change(
    ledger: Cases, settings: Settings, fold: int
) -> None:
    """Without time zones, nothing of a stored time tells which of the two hours it was in."""
    from django_confiture.history.ledger import append
    from django_confiture.history.models import MigrationExecution

    settings.TIME_ZONE = "Europe/Berlin"
    settings.USE_TZ = False
    connection.close()  # its time zone is the one that it was opened with
    started_at = datetime(2026, 10, 25, 2, 30, fold=fold)  # noqa: DTZ001 - as Django makes it
    row = MigrationExecution(
        database="default", app_label="cases", name="0009", direction="forward",
        outcome="completed", started_at=started_at, duration_ms=1.0, os_user="", host="",
    )  # fmt: skip
    append(row, [], [], using="default")
    assert run("history_verify")[1] == 0
    settings.USE_TZ = True
    assert run("history_verify")[1] == 0


# Retention.


def test_no_migration_imports_what_may_change() -> None:
    for file in Path(history_migrations.__path__[0]).glob("*.py"):
        assert "django_confiture" not in re.findall(
            r"^ *(?:from|import) (\w+)", file.read_text(), re.MULTILINE
        )


def test_pruning(ledger: Cases) -> None:
    from django.utils import timezone

    from django_confiture.history.ledger import prune

    model = apps.get_model("confiture_history", "MigrationExecution")
    first = model.objects.get(number=1)
    assert run("history_prune", "--older-than", "1h") == (
        "Deleted 0 executions and 0 dry runs.\n",
        0,
    )
    second = model.objects.get(number=2)
    assert prune(second.started_at, using="default") == (1, 1)
    assert not model.objects.filter(pk=first.pk).exists()
    assert query(f"SELECT count(*) FROM {FORECAST}") == [(0,)]
    assert run("history_verify")[1] == 0
    with recording.recording():
        ledger.migrate("zero")
    assert run("history_verify")[1] == 0
    assert prune(timezone.now(), using="default") == (5, 0)
    assert run("history_verify") == (EMPTY, 0)
    assert query(f"SELECT count(*) FROM {STATEMENT}") == [(0,)]
    ledger.migrate("0001")
    assert model.objects.get().number == 7
    assert run("history_verify")[1] == 0
    with recording.recording():
        call_command("migrate_dryrun", "cases", "0003", verbosity=0, output=Path("/dev/null"))
    assert run("history_verify")[1] == 0
    assert run("history_prune", "--older-than", "0s")[0] == ("Deleted 1 execution and 1 dry run.\n")


def test_an_age_that_is_none(history: None) -> None:
    with pytest.raises(CommandError) as caught:
        run("history_prune", "--older-than", "a while")
    assert str(caught.value) == (
        "Error: argument --older-than: it is 'a while', which is not a duration; write"
        " a number and a unit, such as 90d"
    )


def test_an_age_beyond_all_dates(history: None) -> None:
    assert run("history_prune", "--older-than", "36500d")[1] == 0
    with pytest.raises(CommandError, match="which is not a duration of less than 100 years"):
        run("history_prune", "--older-than", "999999999d")


def test_a_system_check_that_fails_is_no_edited_row(history: None, settings: Settings) -> None:
    from django_confiture.history.management.commands import confiture_history_verify

    settings.CONFITURE = {"NOPE": 1}
    confiture_history_verify.Command().run_from_argv(["manage.py", "confiture_history_verify"])


def test_names(ledger: Cases) -> None:
    def first(model: str, **facts: Any) -> str:
        return str(apps.get_model("confiture_history", model)(**facts))

    assert first("StatementExecution", sql="SELECT 1") == "SELECT 1"
    assert first("HookExecution", hook="H", phase="P", outcome="failed") == "H in P: failed"
    assert first("Forecast", app_label="a", name="b", database="c") == "a.b on c"
    assert first("LedgerHead", ledger="l", last_number=1, last_hash="f") == "l, 1: f"
    assert first("DryRun", number=1, database="d", verdict="passed") == "Dry run 1 on d: passed"


def test_who_has_applied_a_migration(ledger: Cases) -> None:
    from django_confiture.history.past_runs import databases_that_applied

    assert databases_that_applied("cases", "0003_empty") == ["default"]
    assert databases_that_applied("cases", "0004_fails") == []
    ledger.migrate("0002")
    assert databases_that_applied("cases", "0003_empty") == []
    execute("UPDATE confiture_history_migrationexecution SET database = 'berlin'")
    assert databases_that_applied("cases", "0002_hook") == ["berlin"]
