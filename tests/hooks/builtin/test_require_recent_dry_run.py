"""``require_recent_dry_run``: the ledger of real dry runs, and what makes them count no more."""

from __future__ import annotations

import logging
from contextlib import suppress
from datetime import timedelta
from io import StringIO
from typing import Any

import pytest
from django.apps import apps
from django.core.management import call_command
from django.db import migrations
from django.db.models import F
from pytest_django import Settings

from django_confiture.hooks.builtin import require_recent_dry_run
from django_confiture.testing import capture_hooks
from tests.cases.migrations_on_disk import Cases
from tests.support.logs import events
from tests.support.shipped_hooks import in_phases, option_messages, veto_of

HOOK = "require_recent_dry_run"
CREATE = migrations.RunSQL("CREATE TABLE cases_a (id int)", "DROP TABLE cases_a")
AGAIN = "Run manage.py migrate_dryrun for this plan, then migrate again."


@pytest.fixture
def plan(cases: Cases, history: None, settings: Settings) -> Cases:
    """Return two migrations that are asked for a dry run."""
    cases.add("0001_first", CREATE)
    cases.add("0002_second", migrations.RunSQL("SELECT 1", "SELECT 1"))
    settings.CONFITURE = in_phases(BEFORE_VALIDATION=(HOOK, {"younger_than": "2h"}))
    return cases


def dry_run(*target: str, **options: Any) -> None:
    with suppress(SystemExit):  # a failure, or what is over its budget
        call_command("migrate_dryrun", "cases", *target, verbosity=0, stdout=StringIO(), **options)


def age_the_last(**age: int) -> None:
    """Make the ledger's last dry run older, and sign it again."""
    from django_confiture.history import hash_chain

    model = apps.get_model("confiture_history", "DryRun")
    row: Any = model.objects.latest("number")
    row.made_at -= timedelta(**age)
    hash_chain.sign(hash_chain.DRY_RUNS, row, {"forecasts": list(row.forecasts.all())})
    row.save()


def test_without_a_dry_run_it_is_a_veto(plan: Cases) -> None:
    assert veto_of(plan) == f"No dry run of 'default' has rehearsed cases.0001_first. {AGAIN}"
    assert plan.applied() == set()


def test_a_dry_run_of_exactly_this_plan_lets_it_run_and_is_skipped_itself(plan: Cases) -> None:
    with capture_hooks() as hooks:
        dry_run()
    assert {run.outcome for run in hooks.find("RequireRecentDryRun")} == {"skipped"}
    plan.migrate()
    assert plan.applied() == {"0001_first", "0002_second"}


def test_the_rest_of_a_plan_of_which_the_first_part_is_done_is_vouched_for(plan: Cases) -> None:
    dry_run()
    call_command("migrate", "cases", "0001", fake=True, verbosity=0)
    plan.migrate()
    assert plan.applied() == {"0001_first", "0002_second"}


def test_a_part_of_the_plan_is_another_plan(plan: Cases) -> None:
    dry_run()
    assert veto_of(plan, "0001") == (
        "Dry run 1 rehearsed another plan: cases.0001_first, cases.0002_second. " + AGAIN
    )


def test_more_than_was_rehearsed_is_another_plan(plan: Cases) -> None:
    dry_run("0001")
    assert veto_of(plan).startswith("Dry run 1 rehearsed another plan: cases.0001_first.")


def test_a_source_that_changed_is_another_plan(plan: Cases) -> None:
    dry_run()
    file = plan.package / "0002_second.py"
    file.write_text(file.read_text() + "\n# changed\n")
    assert veto_of(plan) == f"The source of cases.0002_second has changed since dry run 1. {AGAIN}"


def test_settings_that_changed_are_another_plan(plan: Cases, settings: Settings) -> None:
    dry_run()
    settings.CONFITURE = {**settings.CONFITURE, "MIGRATE": {"LOCK_RETRIES": 1}}
    assert veto_of(plan) == f"The settings have changed since dry run 1. {AGAIN}"


def test_a_dry_run_that_is_too_old_does_not_count(plan: Cases) -> None:
    dry_run()
    age_the_last(hours=3)
    assert veto_of(plan) == f"Dry run 1 is 3.0 h old. {AGAIN}"


def test_a_dry_run_that_failed_does_not_count(plan: Cases) -> None:
    plan.add("0003_fails", migrations.RunSQL("SELECT 1 / 0"))
    dry_run()
    assert veto_of(plan) == f"Dry run 1, the last one, has the verdict 'failed'. {AGAIN}"


def test_a_dry_run_over_its_budget_does_not_count(plan: Cases) -> None:
    dry_run(max_duration="1us")
    assert "has the verdict 'exceeded'" in veto_of(plan)


def test_a_row_that_was_changed_in_the_ledger_does_not_count(plan: Cases) -> None:
    dry_run()
    age_the_last(hours=3)
    model: Any = apps.get_model("confiture_history", "DryRun")
    model.objects.update(made_at=F("made_at") + timedelta(hours=2))
    assert veto_of(plan) == f"Dry run 1 was changed in the ledger. {AGAIN}"


def test_the_ledger_is_still_whole_with_dry_runs_from_before_plans_were_recorded(
    plan: Cases,
) -> None:
    from django_confiture.history import hash_chain

    dry_run()
    model: Any = apps.get_model("confiture_history", "DryRun")
    row = model.objects.get()
    row.plan = {}
    hash_chain.sign(hash_chain.DRY_RUNS, row, {"forecasts": list(row.forecasts.all())})
    row.save()
    assert hash_chain.is_intact(hash_chain.DRY_RUNS, model.objects.get())
    assert veto_of(plan) == f"Dry run 1 was made before plans were recorded. {AGAIN}"


def test_backwards_it_asks_for_a_dry_run_of_that(plan: Cases) -> None:
    dry_run()
    plan.migrate()
    assert "rehearsed another plan" in veto_of(plan, "zero")
    dry_run("zero")
    plan.migrate("zero")
    assert plan.applied() == set()


def test_a_dry_run_of_another_database_counts_where_it_is_named(
    plan: Cases, settings: Settings
) -> None:
    options = {"database": "staging"}
    settings.CONFITURE = in_phases(BEFORE_VALIDATION=(HOOK, options))
    dry_run()
    assert veto_of(plan).startswith("No dry run of 'staging' has rehearsed cases.0001_first.")


def test_the_ledgers_own_migrations_are_not_asked_and_others_do_not_fail_without_its_column(
    plan: Cases, settings: Settings
) -> None:
    settings.CONFITURE = {"PHASES": {"BEFORE_VALIDATION": [HOOK]}}
    call_command("migrate", "confiture_history", "0001", verbosity=0)
    assert veto_of(plan).startswith("No dry run of 'default' has rehearsed")
    call_command("migrate", "confiture_history", verbosity=0)
    dry_run()
    plan.migrate()


# Overriding.


def test_those_who_may_override_it_with_a_reason_which_is_logged(
    plan: Cases,
    settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    user = require_recent_dry_run._user()
    settings.CONFITURE = in_phases(BEFORE_VALIDATION=(HOOK, {"may_override": ["boss", user]}))
    assert veto_of(plan).endswith(
        f"boss, {user} may set CONFITURE_WITHOUT_DRY_RUN to a reason instead."
    )
    caplog.set_level(logging.WARNING, "django_confiture.hooks")
    monkeypatch.setenv("CONFITURE_WITHOUT_DRY_RUN", "the shop is down")
    monkeypatch.setenv("LOGNAME", "another user")
    plan.migrate()
    overridden = [facts for event, facts in events(caplog) if event == "dry_run_overridden"]
    assert [facts["migration"] for facts in overridden] == ["0001_first", "0002_second"]
    assert (overridden[0]["user"], overridden[0]["reason"]) == (user, "the shop is down")
    assert overridden[0]["instead_of"] == "no dry run of 'default' has rehearsed cases.0001_first"


def test_others_may_not(plan: Cases, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    settings.CONFITURE = in_phases(BEFORE_VALIDATION=(HOOK, {"may_override": ["boss"]}))
    monkeypatch.setenv("CONFITURE_WITHOUT_DRY_RUN", "I like to")
    monkeypatch.setenv("LOGNAME", "boss")
    user = require_recent_dry_run._user()
    assert veto_of(plan).endswith(f"then migrate again; {user!r} may not override this.")


# Options.


def test_without_the_ledger_it_is_a_system_check() -> None:
    assert option_messages(HOOK, {}) == [
        (
            "confiture.E012",
            ("require_recent_dry_run looks for dry runs in the ledger, which is not installed."),
            'Add "django_confiture.history" to INSTALLED_APPS, and migrate it.',
        )
    ]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (
            {"older_than": "1h"},
            (
                "confiture.E011",
                "require_recent_dry_run has the unknown option 'older_than'.",
                "Did you mean 'younger_than'?",
            ),
        ),
        (
            {"may_override": "me"},
            (
                "confiture.E012",
                "require_recent_dry_run: OPTIONS[\"may_override\"] is 'me'.",
                "Write a list of strings.",
            ),
        ),
    ],
)
def test_wrong_options_are_system_checks(options: Any, expected: Any) -> None:
    assert option_messages(HOOK, options) == [expected]


def test_it_lets_a_plan_run_without_time_zones(plan: Cases, settings: Settings) -> None:
    settings.USE_TZ = False
    dry_run()
    age_the_last(hours=3)
    assert veto_of(plan) == f"Dry run 1 is 3.0 h old. {AGAIN}"
    dry_run()
    plan.migrate()
    assert plan.applied() == {"0001_first", "0002_second"}
