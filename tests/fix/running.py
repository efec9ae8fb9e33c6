"""Runs ``confiture_fix`` on the app "cases"."""

from __future__ import annotations

import json
import sys
from io import StringIO
from typing import Any

from django.core.management import call_command
from django.test import override_settings

from django_confiture.dry_run.results.from_json import restored
from django_confiture.reports.phrases import fix_command
from tests.cases.migrations_on_disk import Cases

SETTINGS = {"MIGRATE": {"LOCK_TIMEOUT": "9s"}, "DRY_RUN": {"LOCK_TIMEOUT": "30s"}}


def fix(name: str, *arguments: str) -> tuple[int, dict[str, Any]]:
    """Return the exit code, and the JSON."""
    out = StringIO()
    code = 0
    with override_settings(CONFITURE=SETTINGS):
        try:
            call_command("confiture_fix", "cases", name, "--format", "json", *arguments, stdout=out)
        except SystemExit as error:
            code = int(error.code or 0)
    return code, json.loads(out.getvalue())


def outcomes(document: dict[str, Any]) -> list[str]:
    """Return what became of each operation."""
    return [each["outcome"] for each in document["operations"]]


def forget_modules(cases: Cases) -> None:
    """Have the migrations read again, as the next process does."""
    for module in [name for name in sys.modules if name.startswith(f"{cases.package.name}.")]:
        del sys.modules[module]


def offered() -> bool:
    """Return whether the report of a dry run offers the fix."""
    out = StringIO()
    with override_settings(CONFITURE=SETTINGS):
        call_command("migrate_dryrun", "cases", format="json", verbosity=0, stdout=out)
    report = restored(json.loads(out.getvalue()))
    return fix_command.commands(report) != ()
