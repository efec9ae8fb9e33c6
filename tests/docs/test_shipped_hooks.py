"""The pages of the shipped hooks list exactly these, their options and their defaults."""

from __future__ import annotations

import inspect
import re
from typing import Any

import pytest
from django.utils.module_loading import import_string

from django_confiture.hooks.builtin.options import declared_options
from django_confiture.hooks.shipped import SHIPPED
from tests.support.paths import DOCS

PAGE = "".join((DOCS / name).read_text() for name in ("shipped-hooks.md", "shipped-hooks-data.md"))
SECTIONS = dict(re.findall(r"^## (\w+)\n(.*?)(?=^## |\Z)", PAGE, re.MULTILINE | re.DOTALL))


def hook_class(name: str) -> Any:
    return import_string(SHIPPED[name])


def tables(section: str) -> list[list[list[str]]]:
    """Return the rows of each table of a section, without its head."""
    found = re.findall(r"^\| .*?\n(?:\| -.*\n)((?:\|.*\n)*)", section, re.MULTILINE)
    return [
        [[cell.strip() for cell in re.split(r"(?<!\\)\|", row)[1:-1]] for row in body.splitlines()]
        for body in found
    ]


def test_the_page_has_a_section_for_each_hook_in_order() -> None:
    assert list(SECTIONS) == list(SHIPPED)


@pytest.mark.parametrize("name", SHIPPED)
def test_the_page_says_when_and_how_a_hook_runs(name: str) -> None:
    hook = hook_class(name)
    assert dict(tables(SECTIONS[name])[0]) == {
        "class": f"`{hook.__name__}`",
        "phase": f"`{hook.phase.name}`",
        "directions": ", ".join(hook.directions),
        "in a dry run": "runs" if hook.runs_in_dry_run else "skipped",
        "on failure": hook.on_failure,
    }


@pytest.mark.parametrize("name", SHIPPED)
def test_the_page_lists_exactly_a_hooks_options_and_their_defaults(name: str) -> None:
    listed = {row[0].strip("`"): row[1] for row in tables(SECTIONS[name])[1]}
    assert listed == {
        option: "required" if found.required else _shown(found.default)
        for option, found in declared_options(hook_class(name)).items()
    }


def _shown(default: object) -> str:
    return f'`"{default}"`' if isinstance(default, str) else f"`{default!r}`"


@pytest.mark.parametrize("name", SHIPPED)
def test_the_docstring_has_each_option_and_says_what_happens_in_a_dry_run_and_backwards(
    name: str,
) -> None:
    text = inspect.getdoc(hook_class(name)) or ""
    assert re.findall(r"^``(\w+)``$", text, re.MULTILINE) == [*declared_options(hook_class(name))]
    assert "dry run" in text
    assert "ackward" in text
