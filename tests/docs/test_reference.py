"""Each list of the reference has exactly what the code has, and every page can be read at once."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import fields

import pytest
from django.dispatch import Signal

import django_confiture
from django_confiture import (
    DryRunResult,
    checks,
    exceptions,
    operations,
    pytest_plugin,
    signals,
    testing,
)
from django_confiture.exceptions import MigrationError
from django_confiture.management import exit_codes
from tests import test_contract
from tests.support.paths import DOCS, ROOT

PAGES = sorted(DOCS.glob("*.md"))
LINES = 250


def read(name: str) -> str:
    return (DOCS / name).read_text()


def column(text: str, head: str, number: int = 0) -> list[str]:
    """Return the names in a column of the table whose first cell is ``head``."""
    table = re.search(rf"^\| {re.escape(head)} \|.*\n\|[ -|]*\n((?:\|.*\n?)*)", text, re.M)
    assert table, f"no table under {head!r}"
    cells = [row.split("|")[number + 1].strip() for row in table[1].splitlines()]
    return [cell.strip("`") for cell in cells]


def subclasses(base: type[MigrationError]) -> Iterator[type[MigrationError]]:
    for each in base.__subclasses__():
        if each.__module__ == exceptions.__name__:
            yield each
            yield from subclasses(each)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_no_page_is_long(page: object) -> None:
    assert len(read(str(page)).splitlines()) <= LINES


def test_the_readme_is_a_front_door() -> None:
    assert len((ROOT / "README.md").read_text().splitlines()) <= 120


def test_each_page_is_in_the_index_once() -> None:
    trees = re.findall(r"```{toctree}\n(.*?)```", read("index.md"), re.S)
    named = [line for tree in trees for line in tree.splitlines() if re.fullmatch(r"[\w-]+", line)]
    assert sorted(named) == sorted(page.stem for page in PAGES if page.stem != "index")


def test_the_commands_with_every_flag() -> None:
    printed = subprocess.run(
        [sys.executable, "-m", "docs.make_commands"],
        cwd=ROOT,
        env={key: value for key, value in os.environ.items() if key != "DJANGO_SETTINGS_MODULE"},
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert read("commands.md") == printed, "make reference"


def test_the_exceptions() -> None:
    tree = re.search(r"^```\n(MigrationError.*?)^```", read("exceptions.md"), re.M | re.S)
    assert tree
    names = re.findall(r"(\w+)(?:  .*)?$", tree[1], re.M)
    assert names[0] == "MigrationError"
    assert set(names[1:]) == {each.__name__ for each in subclasses(MigrationError)}


def test_the_exit_codes() -> None:
    constants = {name: getattr(exit_codes, name) for name in dir(exit_codes) if name.isupper()}
    constants.pop("TYPE_CHECKING")
    page = read("exceptions.md")
    listed = zip(column(page, "code", 1), map(int, column(page, "code")), strict=True)
    assert {name: code for name, code in listed if name} == constants


def test_the_signals() -> None:
    sent = {name for name, each in vars(signals).items() if isinstance(each, Signal)}
    assert set(column(read("configuration.md"), "signal")) == sent


def test_the_system_checks() -> None:
    documented = re.findall(r"`confiture\.([EW]\d{3})`", read("configuration.md"))
    assert documented == re.findall(r"^([EW]\d{3}) ", checks.__doc__ or "", re.M)


def test_what_tests_can_import() -> None:
    page = read("testing.md")
    named = [name.partition("(")[0] for name in column(page, "name")]
    assert sorted(named) == sorted(testing.__all__)
    fixtures = {name for name in vars(pytest_plugin) if name in ("run_hook", "hook_runs")}
    assert set(column(page, "fixture")) == fixtures


@pytest.mark.parametrize("name", operations.__all__)
def test_each_operation_has_a_section(name: str) -> None:
    pages = read("hooks.md") + read("backfills.md")
    assert re.search(rf"^#+ .*{name}|\b{name}\(", pages, re.M)


@pytest.mark.parametrize("name", django_confiture.__all__)
def test_each_public_name_is_explained(name: str) -> None:
    pages = "".join(map(read, ("hooks.md", "exceptions.md", "configuration.md", "how-to-hooks.md",
                               "testing.md")))  # fmt: skip
    assert re.search(rf"\b{name}\b", pages)


def test_the_fields_of_a_dry_run() -> None:
    cells = column(read("testing.md"), "field")
    named = [name for cell in cells for name in re.findall(r"\w+", cell)]
    assert named == [each.name for each in fields(DryRunResult)]


def test_the_log_events_are_listed_once() -> None:
    listed = column(read("OPERATION.md"), "event")
    assert set(test_contract.EVENTS) <= set(listed)
    assert len(listed) == len(set(listed))
    for page in PAGES:
        assert page.name == "OPERATION.md" or "| event | level |" not in page.read_text()
