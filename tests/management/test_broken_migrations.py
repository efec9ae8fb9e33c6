"""Migration files that can't be loaded: one line, and exit code 2."""

from __future__ import annotations

from io import StringIO

import pytest
from django.core.management import CommandError, call_command

from tests.cases.migrations_on_disk import Cases

COMMANDS = (
    ("migrate_dryrun", "cases"),
    ("confiture_hooks", "cases"),
    ("confiture_fix", "cases", "0001"),
    ("confiture_drift",),
)
DIVIDES = "{package}.0001_broken, line 2: ZeroDivisionError: division by zero"
BROKEN = {
    "x = 1\n1 / 0\n": DIVIDES,
    "class Migration:\n    operations = [1 / 0]\n": DIVIDES,
    "import json\njson.loads('')\n": "{package}.0001_broken, line 2: JSONDecodeError: "
    "Expecting value: line 1 column 1 (char 0)",
    "import no_such_module\n": "{package}.0001_broken, line 1: ModuleNotFoundError: "
    "No module named 'no_such_module'",
    "1 +\n": "A migration file can't be imported: SyntaxError: "
    "invalid syntax (0001_broken.py, line 1)",
    "x = 1\n": "Migration 0001_broken in app cases has no Migration class",
    "from django.db import migrations\n\n\nclass Migration(migrations.Migration):\n"
    "    dependencies = [('shop', '9999')]\n": "Migration cases.0001_broken dependencies "
    "reference nonexistent parent node ('shop', '9999')",
}


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize(("source", "line"), BROKEN.items())
def test_files_that_cannot_be_loaded(
    cases: Cases, command: tuple[str, ...], source: str, line: str
) -> None:
    cases.write("0001_broken", source)
    out = StringIO()
    with pytest.raises(CommandError) as caught:
        call_command(*command, stdout=out, stderr=StringIO())
    assert caught.value.returncode == 2
    assert str(caught.value) == line.format(package=cases.package.name)
    assert out.getvalue() == ""


def test_an_error_of_a_migration_that_runs_is_not_one_of_the_files(cases: Cases) -> None:
    cases.write(
        "0001_fails",
        "from django.db import migrations\n\n\ndef fail(apps, editor):\n    1 / 0\n\n\n"
        "class Migration(migrations.Migration):\n    operations = [migrations.RunPython(fail)]\n",
    )
    out = StringIO()
    with pytest.raises(SystemExit) as caught:
        call_command("migrate_dryrun", "cases", stdout=out, stderr=StringIO())
    assert caught.value.code == 1
    assert "cases.0001_fails would fail" in out.getvalue()
