"""``manage.py confiture_hooks``: the registry, and the plan that ``migrate`` would carry out."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.core.management.commands import migrate
from django.db import migrations
from django.db.migrations.executor import MigrationExecutor
from pytest_django import Settings

from django_confiture import HookPhase, RunHook, register_hook, signals
from django_confiture.hooks.shipped import SHIPPED
from django_confiture.testing import isolated_registry
from tests.cases.migrations_on_disk import Cases
from tests.support import recording
from tests.support.paths import ROOT
from tests.support.recording import ForwardRecord, Record

RECORD = "tests.support.recording.Record"
FORWARD = "tests.support.recording.ForwardRecord"
SETTINGS: dict[str, Any] = {
    "ENTRY_POINTS": False,
    "HOOKS": {
        "record": {"HOOK": RECORD, "OPTIONS": {"name": "x"}},
        "broken": "nowhere.Hook",
    },
    "PHASES": {
        "CLEANUP": ["record"],
        "AFTER_DDL": [{"HOOK": RECORD, "MIGRATIONS": ["*.0002_*"]}],
        "BEFORE_DDL": ["tests.support.recording.ForwardRecord"],
        "ON_ERROR": [{"HOOK": "record", "DATABASES": ["other"]}],
    },
}


@pytest.fixture(autouse=True)
def _registry(settings: Settings) -> Iterator[None]:
    settings.CONFITURE = SETTINGS
    with isolated_registry() as registry:
        for name in SHIPPED:
            registry.unregister(name)
        yield


def run(*args: str, **options: Any) -> str:
    out = StringIO()
    call_command("confiture_hooks", *args, stdout=out, no_color=True, **options)
    return out.getvalue()


def run_json(*args: str, **options: Any) -> dict[str, Any]:
    parsed: dict[str, Any] = json.loads(run(*args, format="json", **options))
    return parsed


def make(cases: Cases) -> None:
    cases.add(
        "0001_mixed",
        RunHook("record", phase=HookPhase.AFTER_DDL),
        migrations.RunPython(migrations.RunPython.noop, migrations.RunPython.noop),
        RunHook(ForwardRecord, options={"name": "file"}),
        RunHook(Record, phase=HookPhase.CLEANUP, options={"name": "file"}),
    )
    cases.add("0002_plain")


def test_text(cases: Cases) -> None:
    make(cases)
    register_hook("by_code", ForwardRecord)
    out = run("cases")
    registered, _, plan = out.partition("Plan on 'default':\n")
    lines = registered.splitlines()
    assert lines[0] == "Registered hooks:"
    assert lines[1].split()[:3] == ["broken", "?", "CONFITURE[\"HOOKS\"]['broken']:"]
    assert [each.split() for each in lines[2:]] == [
        [
            "by_code",
            "tests.support.recording.ForwardRecord",
            "BEFORE_DDL",
            "register_hook",
            "(tests.support.recording.ForwardRecord)",
        ],
        ["record", "tests.support.recording.Record", "BEFORE_DDL", 'CONFITURE["HOOKS"]'],
    ]
    assert plan == (
        "  cases.0001_mixed\n"
        "    BEFORE_DDL  tests.support.recording.ForwardRecord  "
        'CONFITURE["PHASES"]["BEFORE_DDL"][0]\n'
        "    AFTER_DDL   tests.support.recording.Record         operation 1\n"
        "    BEFORE_DDL  tests.support.recording.ForwardRecord  operation 3\n"
        "    CLEANUP     tests.support.recording.Record         "
        'CONFITURE["PHASES"]["CLEANUP"][0]\n'
        "    CLEANUP     tests.support.recording.Record         operation 4\n"
        "  cases.0002_plain\n"
        "    BEFORE_DDL  tests.support.recording.ForwardRecord  "
        'CONFITURE["PHASES"]["BEFORE_DDL"][0]\n'
        "    AFTER_DDL   tests.support.recording.Record         "
        'CONFITURE["PHASES"]["AFTER_DDL"][0]\n'
        "    CLEANUP     tests.support.recording.Record         "
        'CONFITURE["PHASES"]["CLEANUP"][0]\n'
    )


def test_the_columns_of_the_registry_line_up(cases: Cases, settings: Settings) -> None:
    settings.CONFITURE = {"HOOKS": {"record": RECORD, "r": "tests.support.recording.ForwardRecord"}}
    settings.CONFITURE["ENTRY_POINTS"] = False
    assert run("cases") == (
        "Registered hooks:\n"
        '  r       tests.support.recording.ForwardRecord  BEFORE_DDL  CONFITURE["HOOKS"]\n'
        '  record  tests.support.recording.Record         BEFORE_DDL  CONFITURE["HOOKS"]\n'
        "Plan on 'default':\n"
        "  No planned migrations.\n"
    )


def test_nothing_registered_and_no_hooks(cases: Cases, settings: Settings) -> None:
    settings.CONFITURE = {"ENTRY_POINTS": False}
    cases.add("0001_plain")
    assert run("cases") == (
        "Registered hooks:\n  No hook is registered.\nPlan on 'default':\n"
        "  Without hooks: cases.0001_plain\n"
    )


def test_json(cases: Cases) -> None:
    make(cases)
    report = run_json("cases")
    assert list(report) == [
        "schema_version",
        "database",
        "hooks_off",
        "registered",
        "shipped",
        "plan",
    ]
    assert (report["schema_version"], report["database"], report["hooks_off"]) == (1, "default", "")
    broken, record = report["registered"]
    assert record == {
        "name": "record",
        "hook": RECORD,
        "phase": "BEFORE_DDL",
        "source": 'CONFITURE["HOOKS"]',
        "options": ["name"],
        "error": None,
    }
    assert (broken["hook"], broken["source"], broken["options"]) == (None, None, None)
    assert "'nowhere.Hook' cannot be imported" in broken["error"]
    first, second = report["plan"]
    assert (first["app_label"], first["name"], first["direction"]) == (
        "cases",
        "0001_mixed",
        "forward",
    )
    assert first["hooks"][1] == {
        "phase": "AFTER_DDL",
        "hook": RECORD,
        "source": "operation 1",
        "options": ["name"],
        "skipped": None,
    }
    assert len(second["hooks"]) == 3


def test_shipped_hooks_are_listed_by_name_but_for_those_that_the_project_replaces(
    cases: Cases, settings: Settings
) -> None:
    with isolated_registry() as registry:
        registry._removed.clear()
        settings.CONFITURE = {"ENTRY_POINTS": False, "HOOKS": {"capture_counts": RECORD}}
        report = run_json("cases")
        out = run("cases")
    assert [each["name"] for each in report["registered"]] == ["capture_counts"]
    assert report["shipped"] == sorted({*SHIPPED} - {"capture_counts"})
    _, _, shipped = out.partition("Shipped hooks:\n")
    listed = shipped.partition("Plan on")[0]
    assert [each.strip() for each in listed.split(",")] == report["shipped"]
    assert max(map(len, listed.splitlines())) < 80


def test_no_value_of_an_option_is_printed(cases: Cases, settings: Settings) -> None:
    make(cases)
    secret = {"HOOK": RECORD, "OPTIONS": {"token": "s3cr3t", "name": {"nested": "s3cr3t"}}}
    hooks = {**SETTINGS["HOOKS"], "secret": secret}
    settings.CONFITURE = {"HOOKS": hooks, "PHASES": {"CLEANUP": [secret, "secret"]}}

    report = run_json("cases")

    assert report["registered"][-1]["options"] == ["name", "token"]
    assert "s3cr3t" not in json.dumps(report) + run("cases")


def test_the_plan_says_what_really_runs(cases: Cases, settings: Settings) -> None:
    """The order that is shown is the order of a real run, forwards and backwards."""
    make(cases)
    settings.CONFITURE = {
        "PHASES": {
            phase: [{"HOOK": each, "OPTIONS": {"name": "x"}} for each in (RECORD, FORWARD)]
            for phase in HookPhase.__members__
        },
        "HOOKS": SETTINGS["HOOKS"],
    }
    ran: list[tuple[str, str]] = []

    def note(*, hook: str, phase: str, **_: Any) -> None:
        ran.append((phase, hook))

    signals.hook_finished.connect(note)
    try:
        for target in ("0001", "zero"):
            ran.clear()
            (shown,) = run_json("cases", target)["plan"]
            with recording.recording():
                cases.migrate(target)
            expected = [
                (hook["phase"], hook["hook"].rpartition(".")[2])
                for hook in shown["hooks"]
                if hook["phase"] != "ON_ERROR"
            ]
            assert ran == expected
    finally:
        signals.hook_finished.disconnect(note)


def test_backward(cases: Cases, settings: Settings) -> None:
    make(cases)
    settings.CONFITURE = {**SETTINGS, "ENABLED": False}
    cases.migrate()
    settings.CONFITURE = SETTINGS
    out = run("cases", "zero").partition("Plan on 'default':\n")[2].splitlines()
    assert out[0] == "  cases.0002_plain (backward)"
    assert out[1] == (
        "    BEFORE_DDL  tests.support.recording.ForwardRecord  "
        'CONFITURE["PHASES"]["BEFORE_DDL"][0]  '
        "skipped: direction backward is not in its directions ('forward',)"
    )
    first = run_json("cases", "zero")["plan"][1]
    assert [hook["source"] for hook in first["hooks"]] == [
        'CONFITURE["PHASES"]["BEFORE_DDL"][0]',
        "operation 3",
        "operation 1",
        'CONFITURE["PHASES"]["CLEANUP"][0]',
        "operation 4",
    ]


def test_nothing_is_changed(cases: Cases) -> None:
    make(cases)
    run("cases")
    assert cases.applied() == set()
    assert migrate.MigrationExecutor is MigrationExecutor  # type: ignore[attr-defined]


def test_hooks_that_are_off(cases: Cases, settings: Settings) -> None:
    make(cases)
    settings.CONFITURE = {**SETTINGS, "ENABLED": False}
    out = run("cases")
    assert '  No hook will run: CONFITURE["ENABLED"] is False.\n' in out
    assert "  Without hooks: cases.0001_mixed, cases.0002_plain\n" in out


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["nothing"], "No installed app with label 'nothing'."),
        (
            ["cases", "09"],
            "Cannot find a migration matching '09' from app 'cases'. The last one is '0002_plain'.",
        ),
    ],
)
def test_usage(cases: Cases, args: list[str], message: str) -> None:
    make(cases)
    with pytest.raises(CommandError) as caught:
        run(*args)
    assert str(caught.value) == message
    assert caught.value.returncode == 2


def test_a_mistake_in_the_settings(cases: Cases, settings: Settings) -> None:
    make(cases)
    settings.CONFITURE = {"PHASES": {"CLEANUP": ["missing"]}, "ENTRY_POINTS": False}
    with pytest.raises(CommandError, match="no hook is registered as 'missing'") as caught:
        run("cases")
    assert caught.value.returncode == 2
    assert "\n" not in str(caught.value)


def test_on_the_command_line(tmp_path: Path) -> None:
    root = ROOT
    command = [sys.executable, "-m", "django", "confiture_hooks", "--settings=tests.settings"]
    path = {"PYTHONPATH": f"{root}:{root / 'testproject'}"}
    done = subprocess.run(
        [*command, "--database", "nowhere"],
        env={**os.environ, **path},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert "invalid choice: 'nowhere'" in done.stderr

    environment = {**os.environ, **path, "DATABASE_URL": "postgresql://user@127.0.0.1:1/none"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1
    assert "connection" in done.stderr
