"""Tests of the project with django-test-migrations; named so that only who asks finds them."""

import json
import os
from pathlib import Path
from typing import Any


def notes() -> list[Any]:
    log = Path(os.environ["COMPAT_LOG"])
    return [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []


def test_the_migrator_runs_the_hooks_of_the_file(migrator: Any) -> None:
    before = len(notes())
    old = migrator.apply_initial_migration(("stock", None))
    assert ("stock", "item") not in old.models
    new = migrator.apply_tested_migration(("stock", "0002_add_code"))
    assert new.apps.get_model("stock", "Item").objects.count() == 1
    assert notes()[before:] == [["stock.0001_initial", "RunHook", "forward", False]]


def test_the_fixtures_of_both_plugins_stand_side_by_side(
    migrator: Any, run_hook: Any, hook_runs: Any
) -> None:
    migrator.apply_initial_migration(("stock", "0001_initial"))
    migrator.apply_tested_migration(("stock", "0003_remove_name"))
    run_hook("compat_hooks.Note", options={"phase": "fixture"})
    hook_runs.assert_ran("Note", phase="BEFORE_DDL", times=0)
    assert notes()[-1][1] == "fixture"
