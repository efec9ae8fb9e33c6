"""Each dry run is kept with its report, after its end and without breaking it."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
from io import StringIO
from typing import TYPE_CHECKING, Any

import pytest
from django.apps import apps
from django.core.management import call_command
from django.db import connection, migrations
from psycopg.conninfo import make_conninfo
from pytest_django import Settings

from django_confiture.dry_run.results.from_json import restored
from django_confiture.reports import FORMATS, render
from tests.cases.migrations_on_disk import Cases, query
from tests.support import dumps, report_cases
from tests.support.history import installed
from tests.support.logs import events
from tests.support.paths import ROOT

if TYPE_CHECKING:
    from django_confiture.history.models import DryRun

CREATE = "CREATE TABLE cases_row (id integer PRIMARY KEY, name text)"


def dry_run(*args: str, **options: Any) -> tuple[str, int | str | None]:
    """Return the JSON report and the exit code."""
    out = StringIO()
    try:
        call_command(
            "migrate_dryrun", "cases", *args, verbosity=0, format="json", stdout=out, **options
        )
    except SystemExit as error:
        return out.getvalue(), error.code
    return out.getvalue(), 0


def rows() -> list[DryRun]:
    return list(apps.get_model("confiture_history", "DryRun").objects.order_by("number"))


def only() -> DryRun:
    (row,) = rows()
    return row


class Terminal(StringIO):
    def isatty(self) -> bool:
        return True


def test_the_next_one_says_how_long_it_took(history: None, cases: Cases) -> None:
    cases.add("0001_slow", migrations.RunSQL("SELECT pg_sleep(0.6)"))
    first, _code = dry_run()
    (migration,) = json.loads(first)["migrations"]
    took = f"{migration['duration_ms']:.0f} ms"
    cases.add("0002_new", migrations.RunSQL("SELECT 1"))
    stream = Terminal()

    call_command("migrate_dryrun", "cases", stdout=StringIO(), stderr=stream)

    shown = stream.getvalue()
    assert f"  1 of 2 migrations took {took} in the last dry run here, of 20" in shown
    assert f"ms of about {took}  1. Raw SQL" in shown

    file = cases.package / "0001_slow.py"
    file.write_text(f"{file.read_text()}# changed\n")
    stream = Terminal()
    call_command("migrate_dryrun", "cases", stdout=StringIO(), stderr=stream)
    assert "  1 of 2 migrations took " in stream.getvalue()


def test_the_next_one_says_so_without_time_zones(
    history: None, cases: Cases, settings: Settings
) -> None:
    settings.USE_TZ = False
    cases.add("0001_table", migrations.RunSQL(CREATE))
    assert dry_run()[1] == 0
    err = StringIO()
    call_command("migrate_dryrun", "cases", stdout=StringIO(), stderr=err)
    assert "  It took " in err.getvalue()


def test_a_dry_run_with_its_report(
    history: None, cases: Cases, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "django_confiture.history")
    cases.add("0001_table", migrations.RunSQL(CREATE))
    cases.add("0002_empty")
    printed, code = dry_run()
    row = only()
    assert (code, row.verdict, row.number, row.mode) == (0, "passed", 1, "transaction")
    assert row.report == printed
    assert row.headline == (
        "Dry run of 2 migrations: all would apply. Either order: the running release and the new "
        "one live with both schemas"
    )
    assert row.migrations == "cases.0001_table\ncases.0002_empty"
    assert (row.database, row.database_name) == ("default", connection.settings_dict["NAME"])
    assert row.os_user
    assert row.host
    assert row.duration_ms == json.loads(printed)["duration_ms"]
    assert {each.name for each in row.forecasts.all()} == {"0001_table", "0002_empty"}
    assert events(caplog, "dry_run_recorded") == [
        ("dry_run_recorded", {"number": 1, "hash": row.hash})
    ]


def test_one_that_fails(history: None, cases: Cases) -> None:
    cases.add("0001_fails", migrations.RunSQL("SELECT 1 / 0"))
    _, code = dry_run()
    assert (code, only().verdict) == (1, "failed")
    assert only().forecasts.count() == 0


def test_one_whose_session_was_ended(history: None, cases: Cases) -> None:
    script = (
        "import psycopg, sys, time\n"
        "with psycopg.connect(sys.argv[1], autocommit=True) as other:\n"
        "    while not other.execute(sys.argv[2]).fetchall():\n"
        "        time.sleep(0.05)"
    )
    sql = (
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
        " WHERE application_name = 'django-confiture dry run' AND query LIKE '%pg_sleep(300)%'"
        " AND pid <> pg_backend_pid() AND datname = current_database()"
    )
    cases.add("0001_sleeps", migrations.RunSQL("SELECT pg_sleep(300)"))
    conninfo = make_conninfo(**_address(), dbname=connection.settings_dict["NAME"])
    with subprocess.Popen([sys.executable, "-c", script, conninfo, sql]):
        printed, code = dry_run()
    assert (code, only().verdict) == (2, "stopped")
    assert only().report == printed


def test_one_on_a_copy(history: None, cases: Cases) -> None:
    """It is kept in the database itself, not in the clone that is gone."""
    cases.add("0001_table", migrations.RunSQL(CREATE))
    printed, code = dry_run(clone=True)
    assert code == 0
    assert (only().mode, only().report) == ("clone", printed)


def test_values_of_rows_are_not_kept(history: None, cases: Cases) -> None:
    def fill(apps: Any, editor: Any) -> None:
        with editor.connection.cursor() as cursor:
            cursor.execute("INSERT INTO cases_row VALUES (1, %s), (2, %s)", ["my secret"] * 2)

    cases.add("0001_table", migrations.RunSQL(CREATE.replace("text", "text UNIQUE")))
    cases.add("0002_fails", migrations.RunPython(fill))
    printed, _ = dry_run(show_values=True)
    assert "secret" in printed
    row = only()
    assert (row.report, row.verdict) == ("", "failed")
    assert [each.name for each in row.forecasts.all()] == ["0001_table"]
    dry_run()
    assert rows()[1].report
    kept = query(
        "SELECT d::text, f::text FROM confiture_history_dryrun d"
        " JOIN confiture_history_forecast f ON f.dry_run_id = d.id"
    )
    assert "secret" not in str(kept)


def test_when_it_is_switched_off(history: None, cases: Cases, settings: Settings) -> None:
    settings.CONFITURE = {"ENABLED": False}
    cases.add("0001_empty")
    dry_run()
    assert rows() == []


def test_the_dry_run_of_the_ledger_itself(transactional_db: None, cases: Cases) -> None:
    """Its tables are pending, and are not there after it either: nothing is kept."""
    with installed():
        out = StringIO()
        call_command("migrate_dryrun", "confiture_history", verbosity=0, format="json", stdout=out)
        found = json.loads(out.getvalue())["migrations"]
        assert [(each["name"], each["outcome"]) for each in found] == [
            ("0001_initial", "passed"),
            ("0002_dryrun_plan", "passed"),
            ("0003_journal_and_blockers", "passed"),
            ("0004_migrationexecution_source_hash", "passed"),
        ]
        assert query("SELECT to_regclass('confiture_history_dryrun')") == [(None,)]


def test_when_it_cannot_be_written(
    history: None, cases: Cases, caplog: pytest.LogCaptureFixture
) -> None:
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE confiture_history_dryrun ADD CHECK (number < 0)")
    cases.add("0001_table", migrations.RunSQL(CREATE))
    printed, code = dry_run()
    assert code == 0
    assert json.loads(printed)["outcome"] == "passed"
    assert "The migration history lacks a dry run: IntegrityError" in caplog.text
    assert rows() == []
    assert query("SELECT last_number FROM confiture_history_ledgerhead") == [(0,), (0,)]


def test_nothing_else_is_left(history: None, cases: Cases) -> None:
    """pg_dump without the ledger's own tables says the same before and after."""
    cases.add("0001_table", migrations.RunSQL(CREATE))
    cases.add("0002_fill", migrations.RunSQL("INSERT INTO cases_row VALUES (1, 'x')"))
    before = _dump()
    dry_run()
    assert len(rows()) == 1
    assert _dump() == before


def _dump() -> str:
    name = connection.settings_dict["NAME"]
    text = dumps.dump(_address(), name, without="confiture_history_*").texts[name]
    assert "CREATE TABLE public.confiture_history_" not in text
    assert "CREATE TABLE public.django_migrations" in text
    return text


def _address() -> dict[str, Any]:
    parameters = connection.get_connection_params()
    known = ("host", "port", "user", "password")
    return {name: parameters[name] for name in known if name in parameters}


def test_a_real_migrate_needs_no_reports(history: None) -> None:
    """The admin and the ledger are there, but neither a parser of SQL nor rich is imported."""
    code = (
        "import django, sys; django.setup();"
        "from django.contrib import admin; assert len(admin.site._registry) > 4;"
        "print(*({'rich', 'postgast', 'django_confiture.reports'} & set(sys.modules)))"
    )
    root = ROOT
    path = os.pathsep.join([str(root), str(root / "testproject")])
    settings = {"DJANGO_SETTINGS_MODULE": "tests.history_settings", "PYTHONPATH": path}
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, **settings},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "\n"


# Reports from what was kept.


@pytest.mark.parametrize("form", FORMATS)
def test_a_report_is_rendered_again(form: str) -> None:
    for report in (report_cases.everything(), report_cases.forecast(), report_cases.report_of()):
        text = render(report, "json")
        again = restored(json.loads(text))
        assert render(again, "json") == text
        assert render(again, form) == render(restored(json.loads(render(again, "json"))), form)


def test_every_field_is_restored() -> None:
    report = report_cases.everything()
    assert dataclasses.asdict(restored(json.loads(render(report, "json")))) == dataclasses.asdict(
        report
    )


def test_what_an_older_release_did_not_know() -> None:
    report = report_cases.report_of(report_cases.MIGRATION)
    document = json.loads(render(report, "json"))
    del document["preflight"], document["migrations"][0]["findings"]
    found = restored(document)
    assert found.preflight is None
    assert found.migrations[0].findings == ()


@pytest.mark.parametrize("document", [{}, {"outcome": "passed"}, {"database": []}])
def test_what_is_no_report(document: dict[str, Any]) -> None:
    with pytest.raises(TypeError):
        restored(document)
