"""docs/tutorial-backfill.md, executed: its files are written, its commands run, in order."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tests.support.dry_run import parameters, plain_connection
from tests.support.paths import DOCS, ROOT

TUTORIAL = (DOCS / "tutorial-backfill.md").read_text()
BLOCK = re.compile(r"^```(python|console)\n(.*?)^```$", re.M | re.S)
FILE = re.compile(r"`([\w/]+\.py)`:\s*$")

SETTINGS = """
INSTALLED_APPS = ["django.contrib.contenttypes", "shop"]
SECRET_KEY = "tutorial"
USE_TZ = True
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
DATABASES = {{"default": {{"ENGINE": "django.db.backends.postgresql", **{database!r}}}}}
"""
MANAGE = """
import os, sys
from django.core.management import execute_from_command_line
os.environ["DJANGO_SETTINGS_MODULE"] = "project.settings"
execute_from_command_line(sys.argv)
"""


@pytest.fixture
def project(tmp_path: Path, both_databases: None) -> Iterator[Path]:
    """Make the project that the tutorial begins with, on its own database."""
    name = f"confiture_tutorial_{os.getpid()}"
    with plain_connection() as connection:
        connection.execute(f"CREATE DATABASE {name}")
    known = {key.upper(): value for key, value in parameters().items() if key != "dbname"}
    for package in ("project", "shop"):
        (tmp_path / package).mkdir()
        (tmp_path / package / "__init__.py").write_text("")
    settings = SETTINGS.format(database={**known, "NAME": name})
    (tmp_path / "project/settings.py").write_text(settings)
    (tmp_path / "manage.py").write_text(MANAGE)
    yield tmp_path
    with plain_connection() as connection:
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


def run(project: Path, *command: str) -> str:
    """Run a command in the project; return all that it prints."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "1000"}
    environment.pop("DJANGO_SETTINGS_MODULE", None)
    done = subprocess.run(
        [sys.executable, *command],
        cwd=project,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=120,
    )
    return done.stdout


def load(project: Path) -> None:
    """Migrate what there is, and fill it."""
    run(project, "manage.py", "makemigrations", "shop")
    assert "Applying shop.0001_initial... OK" in run(project, "manage.py", "migrate")
    wanted: dict[str, Any] = {**parameters(), "dbname": f"confiture_tutorial_{os.getpid()}"}
    with psycopg.connect(**wanted, autocommit=True) as connection:
        connection.execute(
            "INSERT INTO shop_order (number, status)"
            " SELECT 'A' || i, 'paid' FROM generate_series(1, 20000) i"
        )
        connection.execute("ANALYZE shop_order")


def check(project: Path, console: str) -> None:
    """Run the commands of a block, and look for the lines below each in what it prints."""
    for part in console.split("$ python ")[1:]:
        command, *expected = part.rstrip("\n").split("\n")
        output = run(project, *shlex.split(command))
        for line in expected:
            pattern = ".*".join(map(re.escape, line.split("…")))
            assert re.search(pattern, output), f"{command}: no {line!r} in\n{output}"


def test_the_tutorial_runs_from_declaration_to_require(project: Path) -> None:
    for number, match in enumerate(BLOCK.finditer(TUTORIAL)):
        language, body = match.groups()
        if language == "console":
            check(project, body)
            continue
        named = FILE.search(TUTORIAL[: match.start()].rstrip() + "\n")
        assert named, f"which file is this?\n{body}"
        path = project / named[1]
        before = path.read_text() if path.name == "settings.py" else ""
        path.write_text(before + body)
        if number == 0:  # what there is
            load(project)
    output = run(
        project,
        *("manage.py", "shell", "-c"),
        "from shop.models import Order; print(sorted({o.search_text for o in Order.objects.all()"
        " if o.number in ('A1', 'late')}))",
    )
    assert "['A1 paid', 'late new']" in output
