"""``django_confiture.testing`` and the pytest fixtures, used as a project would use them."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.apps import apps
from django.contrib.auth.models import Group
from django.core.management import call_command
from django.db import connection
from pytest_django import Settings

from django_confiture import Hook, HookContext, HookError, HookPhase, HookResult
from django_confiture.exceptions import HookLookupError
from django_confiture.hooks.executor import HookExecutor
from django_confiture.hooks.registry import registry
from django_confiture.pytest_plugin import hook_runs, run_hook
from django_confiture.testing import (
    CapturedHooks,
    HookRun,
    capture_hooks,
    hook_context,
    isolated_registry,
)
from django_confiture.testing import run_hook as run
from tests.cases.migrations_on_disk import Cases

__all__ = ["hook_runs", "run_hook"]  # fixtures: this module has them even where they're installed


class Renames(Hook):
    """Uses what a hook may use: the connection, models, options, statistics."""

    phase = HookPhase.AFTER_DDL

    def execute(self, conn: Any, context: HookContext) -> HookResult:
        context.apps.get_model("auth", "Group").objects.create(name="by the ORM")
        conn.execute("INSERT INTO auth_group (name) VALUES (%s)", [self.options["name"]])
        context.set_stat("seen", (context.get_stat("seen") or 0) + 1)
        return HookResult("AFTER_DDL", "Renames", rows_affected=2)


class Tolerated(Hook):
    phase = HookPhase.BEFORE_DDL
    on_failure = "continue"

    def execute(self, conn: Any, context: HookContext) -> HookResult:
        raise ValueError("no backup today")


class AnyPhase(Hook):
    def execute(self, conn: Any, context: HookContext) -> HookResult:
        return HookResult("CLEANUP", "AnyPhase")


class RunsAnother(Tolerated):
    def execute(self, conn: Any, context: HookContext) -> HookResult:
        HookExecutor().execute_phase(conn, HookPhase.CLEANUP, [AnyPhase], context)
        raise ValueError("after the other")


NAME = "tests.test_testing.Renames"


@pytest.mark.django_db
class TestRunHook:
    @pytest.mark.parametrize("hook", [Renames, Renames(), NAME], ids=["class", "instance", "path"])
    def test_runs_on_the_test_database(self, hook: Any) -> None:
        result = run(hook, options={"name": "by hand"})
        assert result.rows_affected == 2
        assert set(Group.objects.values_list("name", flat=True)) == {"by hand", "by the ORM"}

    def test_a_registered_name_with_its_options(self, settings: Settings) -> None:
        settings.CONFITURE = {"HOOKS": {"renames": {"HOOK": NAME, "OPTIONS": {"name": "x"}}}}
        run("renames")
        assert Group.objects.filter(name="x").exists()

    def test_the_context_has_what_the_test_says(self) -> None:
        error = ValueError()
        context = hook_context(
            "0042_answer", app_label="shop", direction="backward", error=error, stats={"a": 1}
        )
        assert (context.label, context.migration_version) == ("shop.0042_answer", "0042")
        assert (context.direction, context.error) == ("backward", error)
        assert context.get_stat("a") == 1
        assert context.connection is connection._connections["default"]  # type: ignore[attr-defined]
        assert context.using == "default"
        assert context.apps is apps

    def test_statistics_are_there_afterwards(self) -> None:
        context = hook_context(stats={"seen": 4})
        run(Renames, context, options={"name": "x"})
        assert context.get_stat("seen") == 5

    def test_facts_make_the_context(self) -> None:
        with capture_hooks() as hooks:
            run(Renames, options={"name": "x"}, app_label="shop", migration_name="0042_answer")
        assert hooks.runs[0].migration == "shop.0042_answer"

    def test_another_phase(self) -> None:
        with capture_hooks() as hooks:
            run(Renames, phase=HookPhase.CLEANUP, options={"name": "x"})
        hooks.assert_ran(Renames, phase="CLEANUP")

    def test_a_failure_is_raised_and_undone(self) -> None:
        with pytest.raises(HookError, match="Hook Renames failed in phase AFTER_DDL"):
            run(Renames)
        assert not Group.objects.exists()

    def test_a_tolerated_failure_is_raised_as_well(self) -> None:
        with pytest.raises(ValueError, match="no backup today"):
            run(Tolerated)

    def test_a_skipped_hook_is_no_success(self) -> None:
        message = (
            r"Renames would be skipped: direction backward is not in its directions \('forward',\)."
        )
        with pytest.raises(AssertionError, match=message):
            run(Renames, direction="backward")

    def test_a_hook_without_a_phase_needs_one(self) -> None:
        message = "AnyPhase sets no phase; pass phase=HookPhase.AFTER_DDL to run_hook."
        with pytest.raises(AssertionError, match=message):
            run(AnyPhase)
        assert run(AnyPhase, phase=HookPhase.CLEANUP).hook_name == "AnyPhase"

    def test_an_instance_is_left_with_its_own_options(self) -> None:
        hook = Renames()
        hook.options = {"name": "its own"}
        run(hook, options={"name": "x"})
        assert hook.options == {"name": "its own"}
        assert Group.objects.filter(name="x").exists()

    def test_a_tolerated_hook_that_runs_hooks(self) -> None:
        with pytest.raises(ValueError, match="after the other"):
            run(RunsAnother)

    def test_other_models(self) -> None:
        context = hook_context(apps=apps)
        assert context.apps is apps

    def test_what_is_registered_for_a_test_is_gone_after_it(self) -> None:
        before = registry.list_hooks()
        with isolated_registry() as isolated:
            isolated.register("renames", Renames)
            isolated.unregister(before[0])
            with isolated_registry():
                isolated.unregister("renames")
                with pytest.raises(HookLookupError):
                    run("renames")
            run("renames", options={"name": "y"})
        assert registry.list_hooks() == before

    def test_the_fixture_does_the_same(self, run_hook: Callable[..., HookResult]) -> None:
        assert run_hook(Renames, options={"name": "by hand"}).rows_affected == 2
        assert Group.objects.count() == 2


def migrate(cases: Cases, settings: Settings) -> None:
    cases.add("0001_empty")
    settings.CONFITURE = {
        "PHASES": {
            "AFTER_DDL": [{"HOOK": NAME, "OPTIONS": {"name": "x"}}],
            "BEFORE_DDL": ["tests.test_testing.Tolerated"],
        }
    }
    call_command("migrate", "cases", verbosity=0)
    call_command("migrate", "cases", "zero", verbosity=0)


class TestCapture:
    def test_runs_of_a_migration(self, cases: Cases, settings: Settings) -> None:
        with capture_hooks() as hooks:
            migrate(cases, settings)
        assert list(map(str, hooks.runs)) == [
            "Tolerated failed in BEFORE_DDL of cases.0001_empty (forward)",
            "Renames completed in AFTER_DDL of cases.0001_empty (forward)",
            "Tolerated skipped in BEFORE_DDL of cases.0001_empty (backward)",
            "Renames skipped in AFTER_DDL of cases.0001_empty (backward)",
        ]
        failed, completed, skipped, _ = hooks.runs
        assert str(failed.error) == "no backup today"
        assert completed.result is not None
        assert completed.result.rows_affected == 2
        assert completed.using == "default"
        assert completed.duration_ms > 0
        assert "backward" in skipped.reason

    def test_the_fixture_does_the_same(
        self, cases: Cases, settings: Settings, hook_runs: CapturedHooks
    ) -> None:
        migrate(cases, settings)
        (run,) = hook_runs.assert_ran(Renames, times=1, migration="cases.0001_empty")
        assert isinstance(run, HookRun)
        assert len(hook_runs.runs) == 4


def captured() -> CapturedHooks:
    hooks = CapturedHooks()
    for hook, phase, outcome in (
        ("Backup", "BEFORE_DDL", "completed"),
        ("Renames", "AFTER_DDL", "completed"),
        ("Renames", "CLEANUP", "failed"),
    ):
        hooks.runs.append(
            HookRun(
                hook,
                phase,
                outcome,
                "shop.0001_initial",
                "forward",
                "default",
                1.0,
                result=None,
                error=None,
                reason="",
            )
        )
    return hooks


class TestAssertions:
    def test_what_holds(self) -> None:
        hooks = captured()
        assert hooks.assert_ran("Backup") == [hooks.runs[0]]
        hooks.assert_ran(Renames, times=1)
        hooks.assert_ran(Renames, outcome="failed", phase="CLEANUP")
        hooks.assert_ran("Nobody", times=0)
        hooks.assert_not_ran("Nobody")
        hooks.assert_not_ran(phase="CLEANUP")
        hooks.assert_order("Backup", Renames)
        assert len(hooks.find(Renames)) == 2
        CapturedHooks().assert_not_ran()

    @pytest.mark.parametrize(
        ("assertion", "message"),
        [
            (
                lambda hooks: hooks.assert_ran("Nobody"),
                (
                    "Nobody was to run at least once, but 0 did. What ran:\n  Backup completed in "
                    "BEFORE_DDL of shop.0001_initial (forward)\n"
                ),
            ),
            (
                lambda hooks: hooks.assert_ran(Renames, times=2, using="default"),
                "Renames (using='default') was to run 2 times, but 1 did. What ran:\n",
            ),
            (
                lambda hooks: hooks.assert_not_ran(phase="AFTER_DDL"),
                "A hook (phase='AFTER_DDL') was not to run, but 1 did.",
            ),
            (
                lambda hooks: hooks.assert_not_ran("Backup"),
                "Backup was not to run, but 1 did.",
            ),
            (
                lambda hooks: hooks.assert_order("Renames", "Backup"),
                "Renames, Backup were to run, but 2 did. What ran:\n",
            ),
        ],
    )
    def test_what_does_not_hold(
        self, assertion: Callable[[CapturedHooks], None], message: str
    ) -> None:
        with pytest.raises(AssertionError) as caught:
            assertion(captured())
        assert str(caught.value).startswith(message)

    def test_nothing_ran(self) -> None:
        with pytest.raises(AssertionError, match=r"but 0 did\. What ran: none"):
            CapturedHooks().assert_ran("Backup")


def pytest_in(directory: Path, test: str) -> str:
    """Run pytest where no Django project is; it finds our plugin by its entry point."""
    (directory / "test_it.py").write_text(test)
    plugins = ["-p", "no:django", "-p", "no:cacheprovider"]
    done = subprocess.run(
        [sys.executable, "-W", "error", "-m", "pytest", "-q", *plugins, "test_it.py"],
        cwd=directory,
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stdout + done.stderr


def test_the_plugin_disturbs_no_project_without_django(tmp_path: Path) -> None:
    assert "1 passed" in pytest_in(tmp_path, "def test_it():\n    pass\n")


def test_the_fixtures_need_no_settings_until_they_run_something(tmp_path: Path) -> None:
    test = "def test_it(hook_runs):\n    hook_runs.assert_not_ran()\n"
    assert "1 passed" in pytest_in(tmp_path, test)
