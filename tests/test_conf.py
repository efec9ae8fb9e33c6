"""The settings, and the two documents about them: what is documented is what exists."""

from __future__ import annotations

import re
import unittest
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.dispatch import Signal
from pytest_django import Settings

from django_confiture import HookResult, checks, conf, signals
from django_confiture.migrate import phases
from django_confiture.pytest_plugin import hook_runs, run_hook
from django_confiture.testing import CapturedHooks

__all__ = ["hook_runs", "run_hook"]  # fixtures

DOCS = Path(__file__).parents[1] / "docs"
CONFIGURATION = (DOCS / "configuration.md").read_text()
HOW_TO = (DOCS / "how-to-hooks.md").read_text()
HOW_TO_SHIPPED = (DOCS / "how-to-shipped-hooks.md").read_text()
BLOCK = re.compile(r"^```python\n(.*?)^```$", re.M | re.S)


def table(heading: str) -> dict[str, str]:
    """Return the first two columns of the first table below a heading."""
    section = CONFIGURATION.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    rows = [line.split("|")[1:3] for line in section.splitlines() if line.startswith("|")][2:]
    return {first.strip().strip("`"): second.strip().strip("`") for first, second in rows}


def shown(value: object) -> str:
    return f'"{value}"' if isinstance(value, str) else repr(value)


# The settings.


def test_without_settings_there_are_defaults(settings: Settings) -> None:
    del settings.CONFITURE
    assert {key: conf.get(key) for key in conf.DEFAULTS} == conf.DEFAULTS


def test_what_the_project_says_wins_one_level_deep(settings: Settings) -> None:
    settings.CONFITURE = {"ENABLED": False, "MIGRATE": {"LOCK_TIMEOUT": "2s"}, "HOOKS": None}
    assert conf.get("ENABLED") is False
    assert conf.get("HOOKS") == {}
    assert conf.get("MIGRATE") == {**conf.DEFAULTS["MIGRATE"], "LOCK_TIMEOUT": "2s"}


def test_a_changed_setting_counts_at_once(settings: Settings) -> None:
    settings.CONFITURE = {"ENABLED": False}
    assert conf.get("ENABLED") is False
    settings.CONFITURE = {"ENABLED": True}
    assert conf.get("ENABLED") is True


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["x"], "CONFITURE is ['x']; write a dictionary."),
        ({"HOOKS": ["x"]}, "CONFITURE[\"HOOKS\"] is ['x']; write a dictionary."),
    ],
)
def test_what_is_no_dictionary(settings: Settings, given: Any, message: str) -> None:
    settings.CONFITURE = given
    with pytest.raises(ImproperlyConfigured) as caught:
        conf.get("HOOKS")
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (None, None),
        ("500ms", timedelta(milliseconds=500)),
        ("2s", timedelta(seconds=2)),
        (" 1.5 s ", timedelta(seconds=1.5)),
        ("5min", timedelta(minutes=5)),
        ("2h", timedelta(hours=2)),
        ("1d", timedelta(days=1)),
        ("100us", timedelta(microseconds=100)),
        ("0s", timedelta(0)),
        (timedelta(seconds=3), timedelta(seconds=3)),
    ],
)
def test_durations(given: object, expected: timedelta | None) -> None:
    assert conf.parse_duration(given, name="x") == expected


@pytest.mark.parametrize(
    "given", [5, "5", "soon", "-1s", timedelta(seconds=-1), "1 year", "", True, ["1s"]]
)
def test_no_durations(given: object) -> None:
    with pytest.raises(ImproperlyConfigured) as caught:
        conf.parse_duration(given, name="THIS")
    assert str(caught.value) == (
        f"THIS is {given!r}, which is not a duration; "
        'write a number and a unit, such as "500ms", "2s" or "5min".'
    )


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (None, None),
        ("0kB", 0),
        ("512B", 512),
        ("64kB", 65_536),
        (" 1.5 MB ", 1_572_864),
        ("1GB", 1_073_741_824),
        ("2TB", 2_199_023_255_552),
    ],
)
def test_sizes(given: object, expected: int | None) -> None:
    assert conf.parse_size(given, name="x") == expected


@pytest.mark.parametrize("given", [5, "5", "much", "-1MB", "1mb", "1 PB", "", True, ["1MB"]])
def test_no_sizes(given: object) -> None:
    with pytest.raises(ImproperlyConfigured) as caught:
        conf.parse_size(given, name="THIS")
    assert str(caught.value) == (
        f"THIS is {given!r}, which is not a size; "
        'write a number and a unit, such as "512MB" or "1GB".'
    )


# What is documented is what exists.


def test_every_setting_is_documented_with_its_default() -> None:
    expected = {
        key: shown(value) if not isinstance(value, dict) or not value else "see below"
        for key, value in conf.DEFAULTS.items()
    }
    assert table("Settings") == expected


@pytest.mark.parametrize("key", ["MIGRATE", "DRY_RUN", "BACKFILLS"])
def test_every_nested_setting_is_documented_with_its_default(key: str) -> None:
    assert table(key) == {name: shown(value) for name, value in conf.DEFAULTS[key].items()}


def test_every_key_of_an_entry_is_documented() -> None:
    assert tuple(table("PHASES")) == phases.ENTRY_KEYS


def test_every_check_is_documented_in_the_words_of_the_module() -> None:
    assert checks.__doc__ is not None
    rows = re.findall(r"^([EW]\d{3}) +(.+)$", checks.__doc__, re.M)
    documented = {
        number.removeprefix("confiture."): problem.replace("`", "").partition(";")[0]
        for number, problem in table("System checks").items()
    }
    assert documented == {number: problem.replace("`", "") for number, problem in rows}


def test_every_signal_is_documented() -> None:
    existing = {name for name, value in vars(signals).items() if isinstance(value, Signal)}
    assert set(table("Signals")) == existing


def test_every_link_leads_somewhere() -> None:
    for text in (CONFIGURATION, HOW_TO, HOW_TO_SHIPPED):
        for file, anchor in re.findall(r"\]\(([\w.-]*)#?([\w-]*)\)", text):
            target = (DOCS / file).read_text() if file else text
            if anchor:
                headings = re.findall(r"^##+ (.+)$", target, re.M)
                slugs = {
                    re.sub(r"[^\w -]", "", each).lower().replace(" ", "-") for each in headings
                }
                assert anchor in slugs


def test_the_blocks_of_the_configuration_run(settings: Settings) -> None:
    before = signals.migration_finished.receivers
    signals.migration_finished.receivers = []
    try:
        for block in BLOCK.findall(CONFIGURATION):
            exec(compile(block, "docs/configuration.md", "exec"), {})
        assert len(signals.migration_finished.receivers) == 1
    finally:
        signals.migration_finished.receivers = before


@pytest.mark.django_db
def test_the_blocks_of_the_how_to_run(
    run_hook: Callable[..., HookResult], hook_runs: CapturedHooks, settings: Settings
) -> None:
    namespace: dict[str, Any] = {"__name__": "docs"}
    configured = []
    for block in BLOCK.findall(HOW_TO + HOW_TO_SHIPPED):
        exec(compile(block, "docs/how-to-hooks.md", "exec"), namespace)
        configured.append(namespace.pop("CONFITURE", None))
    for given in filter(None, configured):
        settings.CONFITURE = given
        list(phases.read_entries())
    namespace["test_the_primary_is_accepted"](run_hook, hook_runs)
    suite = unittest.defaultTestLoader.loadTestsFromTestCase(namespace["RefuseOnReplicaTests"])
    result = suite.run(unittest.TestResult())
    assert result.testsRun == 2
    assert result.wasSuccessful(), result.errors + result.failures
    require_backup = namespace["RequireBackup"]()
    assert [each.id for each in require_backup.check()] == ["ops.E001"]
    require_backup.options = {"max_age_hours": 24}
    assert require_backup.check() == []


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("QUEUE", "", """QUEUE is ''; write a name, such as "default"."""),
        ("QUEUE", 7, """QUEUE is 7; write a name, such as "default"."""),
        ("THROTTLES", "a.B", "THROTTLES is 'a.B'; write a list."),
    ],
)
def test_a_name_or_a_list_of_another_type(key: str, value: object, said: str) -> None:
    with pytest.raises(conf.SettingError) as caught:
        conf.parse(key, value, name=key)
    assert str(caught.value) == said


def test_no_list_is_an_empty_one() -> None:
    assert conf.parse("THROTTLES", None, name="THROTTLES") == ()
