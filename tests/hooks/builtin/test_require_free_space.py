"""``require_free_space``: what a dry run said against what is free."""

from __future__ import annotations

import shutil
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.apps import apps
from django.core.management import call_command
from django.db import migrations
from pytest_django import Settings

from django_confiture import HookContext, HookError
from django_confiture.testing import capture_hooks
from tests.cases.migrations_on_disk import Cases, query
from tests.support.shipped_hooks import execute, in_phases, option_messages, veto_of

HOOK = "require_free_space"
GB = 1024**3


def four_gigabytes(context: HookContext) -> int:
    assert context.using == "default"
    return 4 * GB


def unknown(context: HookContext) -> str:
    return "much"


def configure(settings: Settings, **options: Any) -> None:
    given = {"free": four_gigabytes, **options}
    settings.CONFITURE = in_phases(BEFORE_VALIDATION=(HOOK, given))


@pytest.fixture
def rewrites(cases: Cases, history: None) -> Cases:
    """Return a migration that rewrites a table and builds an index."""
    execute(
        "CREATE TABLE cases_row (id int, name text)",
        "INSERT INTO cases_row SELECT i, 'name ' || i FROM generate_series(1, 20000) i",
    )
    cases.add(
        "0001_rewrites",
        migrations.RunSQL(
            "ALTER TABLE cases_row ALTER id TYPE bigint", "ALTER TABLE cases_row ALTER id TYPE int"
        ),
        migrations.RunSQL("CREATE INDEX cases_name ON cases_row (name)", "DROP INDEX cases_name"),
    )
    return cases


def dry_run(*target: str) -> None:
    call_command("migrate_dryrun", "cases", *target, verbosity=0, stdout=StringIO())


def needed(cases: Cases, name: str = "") -> int:
    with capture_hooks() as hooks:
        cases.migrate(name)
    (run,) = hooks.assert_ran("RequireFreeSpace")
    assert run.result is not None
    assert run.result.stats is not None
    assert run.result.stats["free_bytes"] == 4 * GB
    return int(run.result.stats["needed_bytes"])


def test_what_a_dry_run_measured_is_needed(rewrites: Cases, settings: Settings) -> None:
    configure(settings)
    dry_run()
    ((table,),) = query("SELECT pg_total_relation_size('cases_row')")
    from django_confiture.history.rehearsals import last_rehearsal  # needs its models

    rehearsed = last_rehearsal("default", "cases.0001_rewrites", "forward")
    assert rehearsed is not None
    sent = [each for one in rehearsed["operations"] for each in one["statements"]]
    wal = sum(each["wal_bytes"] or 0 for each in sent)  # with that of other sessions
    assert wal > table / 10
    assert table + wal <= needed(rewrites) <= table + 2 * wal
    assert rewrites.applied() == {"0001_rewrites"}


def test_too_little_room_is_a_veto_that_says_the_figures(
    rewrites: Cases, settings: Settings
) -> None:
    configure(settings, keep_free="4GB", spare=2)
    dry_run()
    veto = veto_of(rewrites)
    assert veto.startswith("cases.0001_rewrites needs ")
    assert "(as a dry run measured); with 2 times that, and 4 GB to stay free, " in veto
    assert veto.endswith(" and 4 GB are. Make room, and migrate again.")
    assert rewrites.applied() == set()


def test_a_forecast_for_production_wins(rewrites: Cases, settings: Settings) -> None:
    configure(settings)
    dry_run()
    set_forecast({"wal_bytes": GB, "dead_bytes": 0, "disk_bytes": 2 * GB})
    assert veto_of(rewrites) == (
        "cases.0001_rewrites needs 3 GB (as a dry run forecast); with 1.5 times that, 4 GB have "
        "to be free, and 4 GB are. Make room, and migrate again."
    )
    configure(settings, spare=1)
    assert needed(rewrites) == 3 * GB


def set_forecast(estimate: dict[str, Any]) -> None:
    """Give the ledger's report a forecast, as statistics of production would."""
    import json

    row: Any = apps.get_model("confiture_history", "DryRun").objects.get()
    report = json.loads(row.report)
    report["migrations"][0]["estimate"] = estimate
    row.report = json.dumps(report)
    row.save()


def test_without_a_dry_run_nothing_is_known(rewrites: Cases, settings: Settings) -> None:
    configure(settings)
    assert veto_of(rewrites) == (
        "No passing dry run in the ledger says how much cases.0001_rewrites needs; run manage.py "
        "migrate_dryrun, or write the option 'needed'."
    )


def test_a_dry_run_of_another_text_says_nothing(rewrites: Cases, settings: Settings) -> None:
    configure(settings)
    dry_run()
    file = rewrites.package / "0001_rewrites.py"
    file.write_text(f"{file.read_text()}# changed\n")
    assert "No passing dry run" in veto_of(rewrites)


def test_backwards_it_asks_for_a_dry_run_of_that(rewrites: Cases, settings: Settings) -> None:
    settings.CONFITURE = {}
    rewrites.migrate()
    configure(settings)
    assert "No passing dry run" in veto_of(rewrites, "zero")
    dry_run("zero")
    assert needed(rewrites, "zero") > 100_000


def test_a_size_that_is_given_needs_no_dry_run(cases: Cases, settings: Settings) -> None:
    cases.add("0001_empty")
    configure(settings, needed="2GB")
    assert needed(cases) == 2 * GB
    configure(settings, needed="3GB")
    assert "needs 3 GB (the option 'needed')" in veto_of(cases, "zero")


def test_the_disk_of_a_directory(cases: Cases, settings: Settings, tmp_path: Path) -> None:
    cases.add("0001_empty")
    given = {"path": str(tmp_path), "needed": "1B", "spare": 1}
    settings.CONFITURE = in_phases(BEFORE_VALIDATION=(HOOK, given))
    cases.migrate()
    more = shutil.disk_usage(tmp_path).total + GB
    given = {**given, "needed": f"{more}B"}
    settings.CONFITURE = in_phases(BEFORE_VALIDATION=(HOOK, given))
    assert "Make room" in veto_of(cases, "zero")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"free": unknown}, "returned 'much'; let it return bytes"),
        ({"free": None, "path": "/nowhere/at/all"}, "No such file or directory: '/nowhere/at/all'"),
    ],
)
def test_what_cannot_be_found_out_fails_the_hook(
    cases: Cases, settings: Settings, options: Any, words: str
) -> None:
    cases.add("0001_empty")
    configure(settings, needed="1kB", **options)
    with pytest.raises(HookError, match=words):
        cases.migrate()


def test_a_dry_run_skips_it(rewrites: Cases, settings: Settings) -> None:
    configure(settings)
    with capture_hooks() as hooks:
        dry_run()
    assert [run.outcome for run in hooks.find("RequireFreeSpace")] == ["skipped"]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (
            {"needed": "1GB"},
            (
                "confiture.E012",
                "require_free_space needs exactly one of 'path' and 'free'.",
                'Name a directory on the server\'s disk, such as {"path": "/var/lib/postgresql"}.',
            ),
        ),
        (
            {"path": "/"},
            (
                "confiture.E012",
                "require_free_space asks the ledger what is needed, which is not installed.",
                "Add \"django_confiture.history\" to INSTALLED_APPS, or write 'needed'.",
            ),
        ),
        (
            {"path": "/", "needed": 5},
            (
                "confiture.E012",
                'require_free_space: OPTIONS["needed"] is 5, which is not a size.',
                'Write a number and a unit, such as "512MB" or "1GB".',
            ),
        ),
        (
            {"path": "/", "needed": "1GB", "need": 1},
            (
                "confiture.E011",
                "require_free_space has the unknown option 'need'.",
                "Did you mean 'needed'?",
            ),
        ),
    ],
)
def test_wrong_options_are_system_checks(options: Any, expected: Any) -> None:
    assert option_messages(HOOK, options) == [expected]
