"""docs/hooks.md and docs/PLUGIN_DEVELOPMENT.md say what is true: their blocks run."""

from __future__ import annotations

import inspect
import re
from typing import Any

import pytest

from django_confiture import Hook, HookContext, HookPhase, HookResult, RunHook
from django_confiture.testing import isolated_registry
from tests import test_contract
from tests.cases.migrations_on_disk import Cases, query
from tests.support.paths import DOCS, PACKAGES

PACKAGE = PACKAGES / "confiture_example_hooks"
BLOCK = re.compile(r"^```python\n(.*?)^```$", re.M | re.S)
REFERENCE = (DOCS / "hooks.md").read_text()
RUNNING = (DOCS / "testing.md").read_text()
OPERATION = (DOCS / "OPERATION.md").read_text()
PLUGINS = (DOCS / "PLUGIN_DEVELOPMENT.md").read_text()


def table(heading: str, page: str = REFERENCE) -> dict[str, list[str]]:
    """Return the rows of the first table below a heading, by their first cell."""
    _, _, section = page.partition(f"\n## {heading}\n")
    lines = section.partition("\n## ")[0].splitlines()
    rows = [
        [cell.strip() for cell in line.split("|")[1:-1]] for line in lines if line.startswith("|")
    ]
    return {row[0].strip("`"): row[1:] for row in rows[2:]}


def names(heading: str) -> set[str]:
    """Return what the first column names; one cell may name two."""
    return {name for row in table(heading) for name in re.findall(r"(\w+)(?:\(|`|$)", row)}


@pytest.mark.django_db
def test_the_blocks_of_the_reference_run() -> None:
    namespace: dict[str, Any] = {"__name__": "docs"}
    blocks = BLOCK.findall(REFERENCE + RUNNING)
    assert len(blocks) == 6
    with isolated_registry():
        for block in blocks:
            exec(compile(block, "docs/hooks.md", "exec"), namespace)
    (operation,) = [o for o in namespace["Migration"].operations if isinstance(o, RunHook)]
    assert operation.hook == "backfill_lifetime_value"


def test_the_reference_lists_exactly_the_phases_in_order() -> None:
    assert list(table("The six phases")) == list(HookPhase.__members__)


def test_the_reference_lists_exactly_the_hooks_attributes_and_their_defaults() -> None:
    rows = table("The class")
    listed = {name: cells[0].strip("`") for name, cells in rows.items()}
    assert listed.pop("phase") == ""
    assert listed.pop("options") == str({**Hook.options})
    attributes = {name: value for name, value in vars(Hook).items() if name in listed}
    assert {name: eval(default) for name, default in listed.items()} == attributes
    public = {name for name in Hook.__annotations__ if not name.startswith("_")}
    assert set(rows) == public


def test_the_reference_lists_exactly_what_a_context_has() -> None:
    context = HookContext("0001_initial", "0001")
    # For those who run hooks, not for those who write them.
    inner = {"set_apps", "recorded_on_commit", "on_progress"}
    assert (
        names("The context")
        == {name for name in dir(type(context)) + list(vars(context)) if not name.startswith("_")}
        - inner
    )


def test_the_reference_lists_exactly_the_results_fields_and_runhooks_arguments() -> None:
    assert list(table("The result")) == list(inspect.signature(HookResult).parameters)
    assert list(table("RunHook")) == list(inspect.signature(RunHook).parameters)


def test_the_reference_lists_exactly_the_events() -> None:
    promised = {
        event: (level, fields)
        for event, (logger, level, fields) in test_contract.EVENTS.items()
        if logger == test_contract.HOOKS
    }
    over = {"hook", "phase", "duration_ms", "timeout_ms"}
    assert {
        event: (level.partition(",")[0], set(re.findall(r"`(\w+)`", fields)))
        for event, (level, fields) in table("Logs", OPERATION).items()
        if event in promised or event == "hook_over_timeout"
    } == {**promised, "hook_over_timeout": ("WARNING", over)}


def test_the_packages_files_in_the_docs_are_those_that_our_tests_build_and_run() -> None:
    """test_entry_points.py builds, installs and tests them."""
    shown = dict(re.findall(r"^`([\w./]+)`:\n\n```\w+\n(.*?)^```$", PLUGINS, re.M | re.S))
    assert shown == {
        str(path.relative_to(PACKAGE)): path.read_text()
        for path in PACKAGE.rglob("*")
        if path.is_file() and path.suffix in (".py", ".toml")
    }


def test_the_docs_migration_works_with_the_docs_hook(cases: Cases) -> None:
    package: dict[str, Any] = {"__name__": "confiture_example_hooks"}
    exec((PACKAGE / "src/confiture_example_hooks/__init__.py").read_text(), package)
    (migration,) = [block for block in BLOCK.findall(PLUGINS) if "class Migration" in block]
    cases.write("0001_initial", migration)
    with isolated_registry() as registry:
        registry.register("analyze_tables", package["AnalyzeTables"])
        cases.migrate()
    assert query("SELECT reltuples FROM pg_class WHERE relname = 'cases_fruit'") == [(7,)]
