"""A project whose migrations a benchmark writes, and its ``migrate`` in its own process."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from server import ROOT

APP = "bench_app"

_SETTINGS = """
import json, os

SECRET_KEY = "benchmark"
USE_TZ = True
INSTALLED_APPS = [
    "django.contrib.contenttypes", "django.contrib.postgres",
    "django_confiture", "django_confiture.history", "bench_app",
]
ENGINE = "django.db.backends.postgresql"
DATABASES = {"default": {"ENGINE": ENGINE, **json.loads(os.environ["BENCH"])}}
CONFITURE = json.loads(os.environ["BENCH_CONFITURE"])
"""

_MIGRATION = """
import time

from django.contrib.postgres.operations import (
    AddConstraintNotValid, AddIndexConcurrently, RemoveIndexConcurrently, ValidateConstraint,
)
from django.db import migrations, models

SQL = migrations.RunSQL


def python(seconds):
    return migrations.RunPython(lambda apps, editor: time.sleep(seconds))


def logged(what):
    def run(apps, editor):
        with editor.connection.cursor() as cursor:
            cursor.execute("INSERT INTO bench_log VALUES (%s)", [what])

    return run


def in_batches(apps, editor):
    rows = apps.get_model("bench_app", "Row").objects
    for low in range(0, 200_000, 20_000):
        to_do = rows.filter(id__gt=low, id__lte=low + 20_000, extra=None)
        to_do.update(extra=models.F("id"))


class Migration(migrations.Migration):
    atomic = {atomic}
    dependencies = {dependencies}
    operations = [{operations}]
"""


class Project:
    """Files in a directory, and the address of a server."""

    def __init__(self, home: Path, address: dict[str, Any]) -> None:
        self._home = home
        self._address = {name.upper(): str(value) for name, value in address.items()}
        self._migrations = home / APP / "migrations"
        self._migrations.mkdir(parents=True)
        (home / "bench_settings.py").write_text(_SETTINGS)
        for package in (home / APP, self._migrations):
            (package / "__init__.py").write_text("")
        (home / APP / "models.py").write_text("")

    def write(self, *migrations: tuple[str, bool]) -> None:
        """Write the migrations: the code of their operations, and whether they are atomic."""
        for old in self._migrations.glob("0*.py"):
            old.unlink()
        names = [f"{number:04}_case" for number in range(1, len(migrations) + 1)]
        for index, (name, (operations, atomic)) in enumerate(zip(names, migrations, strict=True)):
            before = [(APP, names[index - 1])] if index else []
            text = _MIGRATION.format(atomic=atomic, dependencies=before, operations=operations)
            (self._migrations / f"{name}.py").write_text(text)

    def migrate(self, database: str, confiture: dict[str, Any], app: str = APP) -> Any:
        """Start ``migrate``; its output is one pipe."""
        return self.command(database, confiture, "migrate", app, "--skip-checks")

    def command(self, database: str, confiture: dict[str, Any], *arguments: str) -> Any:
        """Start a command; its output is one pipe."""
        path = os.pathsep.join([str(ROOT), str(self._home)])
        environment = {
            **os.environ,
            "PYTHONPATH": path,
            "PYTHONDONTWRITEBYTECODE": "1",
            "DJANGO_SETTINGS_MODULE": "bench_settings",
            "BENCH": json.dumps({**self._address, "NAME": database}),
            "BENCH_CONFITURE": json.dumps(confiture),
        }
        return subprocess.Popen(
            [sys.executable, "-m", "django", *arguments],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
