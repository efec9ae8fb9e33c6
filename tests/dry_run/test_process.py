"""The command in its own process: exit codes, what is printed where, what a kill leaves."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg import sql

from tests.support.dry_run import parameters
from tests.support.paths import ROOT

SETTINGS = """
INSTALLED_APPS = [
    "django.contrib.contenttypes", "django.contrib.auth", "django_confiture", "tests.cases",
]
DATABASES = {{"default": {database!r}}}
MIGRATION_MODULES = {{"cases": "cases_migrations"}}
USE_TZ = True
SECRET_KEY = "x"
"""

MIGRATION = """
import time
from django.core.management import CommandError
from django.db import connection, migrations


def code(apps, schema_editor):
    {code}


class Migration(migrations.Migration):
    operations = [migrations.RunPython(code)]
"""


class Project:
    """A project on disk, with its own database that starts, and has to stay, empty."""

    def __init__(self, directory: Path, database: str) -> None:
        self.directory = directory
        self.dbname = database
        self._package = directory / "cases_migrations"
        self._package.mkdir()
        (self._package / "__init__.py").write_text("")
        self.connect_as()

    def connect_as(self, **other: str) -> None:
        """Write the settings, with other parameters of the database than the usual."""
        known = parameters()
        database = {"ENGINE": "django.db.backends.postgresql", "NAME": self.dbname}
        database |= {key.upper(): str(known[key]) for key in known if key != "dbname"}
        settings = SETTINGS.format(database={**database, **other})
        (self.directory / "dry_settings.py").write_text(settings)

    def add(self, code: str) -> None:
        """Write the one migration of the app "cases"."""
        (self._package / "0001_case.py").write_text(MIGRATION.format(code=code))

    def start(self, *args: str, **environment: str) -> subprocess.Popen[str]:
        """Start the command."""
        env = {
            **os.environ,
            "DJANGO_SETTINGS_MODULE": "dry_settings",
            "PYTHONPATH": os.pathsep.join([str(self.directory), str(ROOT)]),
            **environment,
        }
        return subprocess.Popen(
            [sys.executable, "-W", "error", "-m", "django", "migrate_dryrun", *args],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=env,
            cwd=self.directory,
            # A shell lets what it runs in the background ignore Ctrl-C; this process must not.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )

    def run(self, *args: str, code: int, **environment: str) -> tuple[str, str]:
        """Run the command to its end and return what it printed; a traceback fails the test."""
        process = self.start(*args, **environment)
        return ended(process, code)


def ended(process: subprocess.Popen[str], code: int) -> tuple[str, str]:
    out, err = process.communicate(timeout=60)
    assert process.returncode == code, (process.returncode, out, err)
    assert "Traceback" not in out + err
    return out, err


@pytest.fixture(scope="module")
def empty_database(both_databases: None) -> Iterator[str]:
    name = f"{parameters()['dbname']}_process"
    with psycopg.connect(**{**parameters(), "dbname": "postgres"}, autocommit=True) as server:
        drop = sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name))
        server.execute(drop)
        server.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
        yield name
        server.execute(drop)


@pytest.fixture
def project(tmp_path: Path, empty_database: str) -> Iterator[Project]:
    yield Project(tmp_path, empty_database)
    with observer(empty_database) as plain:
        left = plain.execute("SELECT relname FROM pg_class WHERE oid >= 16384").fetchall()
    assert left == []


def observer(database: str) -> psycopg.Connection[Any]:
    return psycopg.connect(**{**parameters(), "dbname": database}, autocommit=True)


# Exit codes, and what is printed where.


def test_on_an_empty_database(project: Project) -> None:
    """Without the table django_migrations, which is made and rolled back with the rest."""
    project.add("print('noise'); __import__('os').write(2, b'more')")

    out, err = project.run("--format", "json", code=0)

    document = json.loads(out)
    assert document["outcome"] == "passed"
    assert {m["app_label"] for m in document["migrations"]} == {"auth", "cases", "contenttypes"}
    assert "noise" in err


def test_a_migration_that_would_fail(project: Project) -> None:
    project.add("connection.cursor().execute('SELECT 1 / 0')")

    out, _err = project.run("cases", code=1)

    assert "division by zero" in out


def test_without_a_terminal_there_is_no_color_and_no_long_line(project: Project) -> None:
    project.add("connection.cursor().execute('SELECT ' + '1234567890, ' * 30 + '0')")

    out, err = project.run("cases", "-v", "2", code=0, COLUMNS="200")

    assert "\x1b" not in out + err
    assert max(map(len, out.splitlines())) <= 80


def test_an_exit_in_a_migration_is_no_success(project: Project) -> None:
    project.add("raise SystemExit(0)")

    out, _err = project.run("cases", code=1)

    assert "cases.0001_case would fail" in out
    assert "exit code 0" in out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--frobnicate"], "unrecognized arguments: --frobnicate"),
        (["nope"], "CommandError: No installed app with label 'nope'."),
    ],
)
def test_wrong_usage(project: Project, arguments: list[str], message: str) -> None:
    out, err = project.run(*arguments, code=2)

    assert out == ""
    assert message in err


def test_a_system_check_that_fails(project: Project) -> None:
    with (project.directory / "dry_settings.py").open("a") as settings:
        settings.write("CONFITURE = {'PHASES': {'CLEANUP': ['missing']}}")

    out, err = project.run(code=2)

    assert out == ""
    assert err.startswith("SystemCheckError: System check identified some issues:")
    assert "(confiture.E007)" in err


def test_a_server_that_is_not_there(project: Project) -> None:
    project.connect_as(HOST="/nowhere", PORT="1")

    out, err = project.run(code=2)

    assert out == ""
    assert err.startswith("CommandError: Cannot connect to 'default': ")
    assert err.count("\n") == 1


def test_a_role_that_is_not_there(project: Project) -> None:
    project.connect_as(USER="dry_unknown", PASSWORD="x")

    _out, err = project.run(code=2)

    assert err.startswith("CommandError: Cannot connect to 'default': ")
    assert err.count("\n") == 1


@pytest.mark.parametrize("output_format", ["text", "json"])
def test_a_terminal_that_knows_few_letters(project: Project, output_format: str) -> None:
    project.add("connection.cursor().execute('SELECT 1 AS \"łódź\"')")

    out, _err = project.run(
        "cases", "-v", "2", "--format", output_format, code=0, PYTHONIOENCODING="ascii"
    )

    assert "cases" in out
    if output_format == "json":
        assert "łódź" in json.loads(out)["migrations"][0]["operations"][0]["statements"][0]["sql"]


# Rights.


@pytest.fixture
def role(empty_database: str) -> Iterator[str]:
    """A role that may connect, and no more."""
    name = f"dry_{empty_database}"
    with observer(empty_database) as plain:
        plain.execute(sql.SQL("CREATE ROLE {} LOGIN PASSWORD 'x'").format(sql.Identifier(name)))
        yield name
        plain.execute(sql.SQL("DROP OWNED BY {}").format(sql.Identifier(name)))
        plain.execute(sql.SQL("DROP ROLE {}").format(sql.Identifier(name)))


def test_a_role_that_may_not_create_tables(project: Project, role: str) -> None:
    project.connect_as(USER=role, PASSWORD="x")

    out, err = project.run(code=2)

    assert out == ""
    assert "lacks the CREATE right on the schema public, which django_migrations needs" in err


def test_the_owner_of_the_database_needs_no_more(project: Project, role: str) -> None:
    database = sql.Identifier(project.dbname)
    project.connect_as(USER=role, PASSWORD="x")
    with observer(project.dbname) as plain:
        ((before,),) = plain.execute("SELECT current_user").fetchall()
        plain.execute(
            sql.SQL("ALTER DATABASE {} OWNER TO {}").format(database, sql.Identifier(role))
        )
        try:
            project.run("cases", code=0)
        finally:
            plain.execute(
                sql.SQL("ALTER DATABASE {} OWNER TO {}").format(database, sql.Identifier(before))
            )


# Interrupted and killed.

IN_A_STATEMENT = "connection.cursor().execute('SELECT pg_sleep(60)')"
IN_PYTHON = "connection.cursor().execute('SELECT 1'); time.sleep(60)"
IN_THE_COMMIT = (
    "connection.cursor().execute("
    + repr(
        "CREATE TABLE cases_row (id integer);"
        "CREATE FUNCTION cases_slow() RETURNS trigger LANGUAGE plpgsql AS"
        " 'BEGIN PERFORM pg_sleep(60); RETURN NULL; END';"
        "CREATE CONSTRAINT TRIGGER cases_slow AFTER INSERT ON cases_row DEFERRABLE INITIALLY"
        " DEFERRED FOR EACH ROW EXECUTE FUNCTION cases_slow(); INSERT INTO cases_row VALUES (1)"
    )
    + ")"
)


def sessions(plain: psycopg.Connection[Any]) -> list[tuple[str, str]]:
    return plain.execute(
        "SELECT state, coalesce(wait_event, '') || ' ' || query FROM pg_stat_activity"
        " WHERE datname = current_database() AND pid <> pg_backend_pid()"
    ).fetchall()


def wait_for(condition: Any, seconds: float) -> None:
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, "it did not happen in time"
        time.sleep(0.05)


def start_and_wait(project: Project, code: str, query: str) -> subprocess.Popen[str]:
    """Start a dry run and return once the session is where the test wants it."""
    project.add(code)
    process = project.start("cases")
    with observer(project.dbname) as plain:
        try:
            wait_for(lambda: any(query in text for _state, text in sessions(plain)), 30)
        except AssertionError:
            process.kill()
            raise AssertionError(process.communicate()) from None
    return process


@pytest.mark.parametrize("code", [IN_A_STATEMENT, IN_PYTHON], ids=["in a statement", "in Python"])
def test_after_a_kill_the_session_is_gone_soon(project: Project, code: str) -> None:
    marker = "pg_sleep" if code == IN_A_STATEMENT else "pg_stat_get_activity"
    process = start_and_wait(project, code, marker)

    process.kill()
    process.communicate()

    with observer(project.dbname) as plain:
        wait_for(lambda: sessions(plain) == [], 10)


@pytest.mark.parametrize(
    ("code", "number"),
    [
        (IN_A_STATEMENT, signal.SIGTERM),
        (IN_PYTHON, signal.SIGINT),
        (IN_THE_COMMIT, signal.SIGINT),
    ],
    ids=["in a statement", "in Python", "in the rehearsed COMMIT"],
)
def test_an_interrupt_ends_it_with_a_report(
    project: Project, code: str, number: signal.Signals
) -> None:
    markers = {
        IN_A_STATEMENT: "pg_sleep",
        IN_PYTHON: "pg_stat_get_activity",
        IN_THE_COMMIT: "PgSleep SAVEPOINT",
    }
    process = start_and_wait(project, code, markers[code])
    if code == IN_PYTHON:
        time.sleep(0.3)

    started = time.monotonic()
    process.send_signal(number)

    out, _err = ended(process, 128 + number)
    assert time.monotonic() - started < 20
    assert "cases.0001_case" in out
    assert "would fail" not in out
    with observer(project.dbname) as plain:
        wait_for(lambda: sessions(plain) == [], 5)
