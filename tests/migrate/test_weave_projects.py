"""Whole projects, each in its own process: SQLite, and the creation of test databases."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.paths import ROOT

SETTINGS = """
import local_postgres

SECRET_KEY = "x"
USE_TZ = True
INSTALLED_APPS = ["django_confiture", "books"]
DATABASES = {{"default": {database}}}
LOGGING = {{
    "version": 1,
    "handlers": {{"stderr": {{"class": "logging.StreamHandler"}}}},
    "loggers": {{"django_confiture": {{"handlers": ["stderr"], "level": "WARNING"}}}},
}}
CONFITURE = {{
    "ENTRY_POINTS": False,
    "HOOKS": {{"says": "books.hooks.Says"}},
    "PHASES": {{"BEFORE_DDL": [{{"HOOK": "says", "OPTIONS": {{"what": "from settings"}}}}]}},
    {more}
}}
"""

FILES = {
    "books/__init__.py": "",
    "books/migrations/__init__.py": "",
    "books/models.py": """
from django.db import models


class Book(models.Model):
    id = models.AutoField(primary_key=True)
""",
    "books/hooks.py": """
import sys

from django_confiture import Hook, HookPhase, HookResult


class Says(Hook):
    phase = HookPhase.AFTER_DDL

    def execute(self, conn, context):
        print("HOOK", self.options["what"], file=sys.stderr)
        return HookResult("", "Says")
""",
    "books/migrations/0001_initial.py": """
from django.db import migrations, models

from django_confiture import RunHook


class Migration(migrations.Migration):
    initial = True
    operations = [
        RunHook("says", options={"what": "from file"}),
        migrations.CreateModel("Book", [("id", models.AutoField(primary_key=True))]),
        RunHook("says", options={"what": "from file"}),
    ]
""",
    "books/migrations/0002_again.py": """
from django.db import migrations

from django_confiture import RunHook


class Migration(migrations.Migration):
    dependencies = [("books", "0001_initial")]
    operations = [RunHook("says", options={"what": "from file"})]
""",
    "books/tests.py": """
from django.core.management import call_command
from django.test import TransactionTestCase

from books.models import Book


class BookTests(TransactionTestCase):
    def test_the_table_is_there(self):
        self.assertEqual(Book.objects.count(), 0)

    def test_migrate(self):
        call_command("migrate", "books", "0001", verbosity=0)
        print("MIGRATE", flush=True)
        call_command("migrate", "books", verbosity=0)
""",
}

SQLITE = '{"ENGINE": "django.db.backends.sqlite3", "NAME": "books.sqlite3"}'
_WORKER = os.environ.get("PYTEST_XDIST_WORKER", "")
POSTGRES = f'local_postgres.database("confiture_projects{_WORKER}")'

WARNING = "Hooks are skipped on the database 'default': it is SQLite, and they need PostgreSQL."


@pytest.fixture
def project(tmp_path: Path) -> Path:
    for name, text in FILES.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return tmp_path


def manage(project: Path, *args: str, database: str = SQLITE, more: str = "") -> list[str]:
    """Run a management command; return the lines of its stderr."""
    return run(project, *args, database=database, more=more).stderr.splitlines()


def run(
    project: Path, *args: str, database: str = SQLITE, more: str = ""
) -> subprocess.CompletedProcess[str]:
    (project / "project_settings.py").write_text(SETTINGS.format(database=database, more=more))
    root = ROOT
    done = subprocess.run(
        [sys.executable, "-W", "error", "-m", "django", *args],
        cwd=project,
        env={
            **os.environ,
            "DJANGO_SETTINGS_MODULE": "project_settings",
            "PYTHONPATH": f"{project}:{root / 'testproject'}",
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done


def test_migrate_on_sqlite_warns_once(project: Path) -> None:
    assert manage(project, "migrate", "--verbosity=0") == [WARNING]
    assert manage(project, "migrate", "books", "zero", "--verbosity=0") == [WARNING]


def test_migrate_on_sqlite_without_hooks_in_files_warns_once(project: Path) -> None:
    (project / "books/migrations/0002_again.py").unlink()
    path = project / "books/migrations/0001_initial.py"
    lines = path.read_text().splitlines()
    path.write_text("\n".join(line for line in lines if "RunHook" not in line))
    assert manage(project, "migrate", "--verbosity=0") == [WARNING]


def test_a_test_suite_on_sqlite_warns_once(project: Path) -> None:
    lines = manage(project, "test", "books.tests.BookTests.test_the_table_is_there")
    assert lines.count(WARNING) == 1
    assert not [line for line in lines if "HOOK" in line or "confiture." in line]


def test_confiture_hooks_says_that_sqlite_has_none(project: Path) -> None:
    done = run(project, "confiture_hooks")
    assert "  No hook will run: 'default' is SQLite, and hooks need PostgreSQL.\n" in done.stdout
    assert re.search(r"  Without hooks: [^:]*books\.0002_again", done.stdout)
    assert done.stderr == ""


def hooks(lines: list[str]) -> list[str]:
    return [line.removeprefix("HOOK ") for line in lines if line.startswith("HOOK ")]


FROM_FILE = ["from file"] * 3


def test_while_a_test_database_is_created_only_hooks_of_files_run(project: Path) -> None:
    test = ("test", "books.tests.BookTests.test_the_table_is_there")
    assert hooks(manage(project, *test, database=POSTGRES)) == FROM_FILE


def test_hooks_of_settings_run_there_as_well_if_asked(project: Path) -> None:
    test = ("test", "books.tests.BookTests.test_the_table_is_there")
    lines = manage(project, *test, database=POSTGRES, more='"TEST_DATABASES": True')
    assert hooks(lines) == [
        *["from settings", "from file", "from file"],
        *["from settings", "from file"],
    ]


def test_what_a_test_migrates_itself_has_all_hooks(project: Path) -> None:
    lines = manage(project, "test", "books.tests.BookTests.test_migrate", database=POSTGRES)
    assert hooks(lines) == [*FROM_FILE, "from settings", "from file"]


def test_pytest_django_creates_test_databases_the_same_way(project: Path) -> None:
    (project / "project_settings.py").write_text(SETTINGS.format(database=POSTGRES, more=""))
    root = ROOT
    options = ["-q", "-s", "-p", "no:cacheprovider", "--ds", "project_settings"]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *options, "-k", "table_is_there", "books/tests.py"],
        cwd=project,
        env={**os.environ, "PYTHONPATH": f"{project}:{root / 'testproject'}"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert hooks(done.stderr.splitlines()) == FROM_FILE
