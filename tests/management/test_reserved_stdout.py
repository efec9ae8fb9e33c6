"""Whatever the project's code prints, standard output has the report alone."""

from __future__ import annotations

import json
import os
import subprocess
from typing import Any

import pytest
from django.core.management import call_command
from django.db import models
from django.db.migrations import CreateModel

from django_confiture import signals
from tests.cases.migrations_on_disk import Cases
from tests.support.dry_run import python

pytestmark = pytest.mark.django_db(transaction=True, databases=["default", "other"])

_NOISY_FILE = """
import os
from django.db import migrations

os.system("echo shell")
os.write(1, b"descriptor\\n")
print("plain")


class Migration(migrations.Migration):
    operations = [migrations.RunSQL("SELECT 1")]
"""


def printed(capfd: pytest.CaptureFixture[str], *args: str) -> tuple[Any, str]:
    """Run a command; return its report, and what is on standard error."""
    capfd.readouterr()
    try:
        call_command(*args, "--format", "json")
    except SystemExit:
        pass
    finally:
        out, err = capfd.readouterr()
    return json.loads(out), err


@pytest.mark.parametrize(
    "args",
    [
        ("migrate_dryrun", "cases"),
        ("confiture_fix", "cases", "0001_noisy"),
        ("confiture_drift",),
        ("confiture_hooks", "cases"),
    ],
    ids=lambda args: args[0],
)
def test_what_a_migration_file_prints(
    cases: Cases, capfd: pytest.CaptureFixture[str], args: tuple[str, ...]
) -> None:
    cases.write("0001_noisy", _NOISY_FILE)

    _report, err = printed(capfd, *args)

    for each in ("shell", "descriptor", "plain"):
        assert each in err


def test_what_processes_of_an_operation_print(
    cases: Cases, capfd: pytest.CaptureFixture[str]
) -> None:
    def printing() -> None:
        subprocess.run(["echo", "child"], check=True)
        os.write(1, b"descriptor\n")

    cases.add("0001_prints", python(printing))

    report, err = printed(capfd, "migrate_dryrun")

    assert report["outcome"] == "passed"
    assert "child" in err
    assert "descriptor" in err


def test_what_receivers_of_the_report_print(
    cases: Cases, capfd: pytest.CaptureFixture[str]
) -> None:
    def receiver(**_facts: Any) -> None:
        os.write(1, b"received\n")

    cases.add("0001_thing", CreateModel("Thing", [("id", models.BigAutoField(primary_key=True))]))
    signals.dry_run_finished.connect(receiver)
    try:
        report, err = printed(capfd, "migrate_dryrun")
    finally:
        signals.dry_run_finished.disconnect(receiver)

    assert report["outcome"] == "passed"
    assert "received" in err
