"""Each command, where its database is out of reach, or refuses the role: one line, exit code 2."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command, find_commands, load_command_class
from django.db import connection, connections
from django.db.utils import ConnectionHandler
from psycopg import sql

import django_confiture
from django_confiture import database_errors
from tests import history_settings
from tests.support.history import history

__all__ = ["history"]  # a fixture

_PACKAGE = Path(django_confiture.__file__).parent
COMMANDS = sorted(
    (name, app)
    for app, directory in {
        "django_confiture": _PACKAGE / "management",
        "django_confiture.history": _PACKAGE / "history" / "management",
    }.items()
    for name in find_commands(str(directory))
)
ARGUMENTS = {
    "confiture_fix": ["cases", "0001"],
    "confiture_history_prune": ["--older-than", "1d"],
}
APPS = [*history_settings.INSTALLED_APPS, "django_confiture.backfills"]


@pytest.fixture(autouse=True)
def _apps(history: None, settings: Any) -> Iterator[None]:
    """Install the optional apps; the ledger has its tables, and backfills have none after it."""
    settings.INSTALLED_APPS = APPS
    yield
    call_command("migrate", "confiture_backfills", "zero", verbosity=0)


@contextmanager
def connected_as(**other: str) -> Iterator[None]:
    """Let Django connect in another way."""
    before = connection.settings_dict
    connection.close()
    connection.settings_dict = {**before, **other}
    try:
        yield
    finally:
        connection.close()
        connection.settings_dict = before


def refused(name: str, app: str, *options: str) -> str:
    out = StringIO()
    with pytest.raises(CommandError) as caught:
        call_command(
            load_command_class(app, name),
            *ARGUMENTS.get(name, []),
            *options,
            stdout=out,
            stderr=StringIO(),
        )
    assert caught.value.returncode == 2
    assert out.getvalue() == ""
    said = str(caught.value)
    assert said == " ".join(said.split())
    return said


def test_all_commands_are_tried() -> None:
    assert len(COMMANDS) >= 10


@pytest.mark.parametrize(("name", "app"), COMMANDS)
def test_a_server_that_is_not_there(name: str, app: str) -> None:
    with connected_as(PORT="1"):
        assert refused(name, app).startswith("Cannot connect to 'default': ")


@pytest.fixture
def _lite(tmp_path: Path) -> Iterator[None]:
    """The alias of a database that is not PostgreSQL."""
    connections.databases["lite"] = {
        **connections.databases["default"],
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": str(tmp_path / "lite"),
        "OPTIONS": {},
    }
    yield
    del connections["lite"], connections.databases["lite"]


@pytest.mark.usefixtures("_lite")
@pytest.mark.parametrize(
    ("name", "doing"),
    [
        ("confiture_backfills", "a backfill"),
        ("confiture_drift", "confiture_drift"),
        ("confiture_fix", "confiture_fix"),
        ("confiture_stats", "confiture_stats"),
        ("confiture_status", "confiture_status"),
        ("migrate_dryrun", "a dry run"),
    ],
)
def test_a_database_of_another_kind(name: str, doing: str) -> None:
    assert refused(name, "django_confiture", "--database", "lite") == (
        f"The database 'lite' is SQLite; {doing} needs PostgreSQL. "
        "Choose another alias: 'default', 'other'."
    )


def test_a_project_without_postgresql(monkeypatch: pytest.MonkeyPatch) -> None:
    only_lite = {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}
    handler = ConnectionHandler({"default": only_lite})
    monkeypatch.setattr(database_errors, "connections", handler)
    assert database_errors.other_database(handler["default"], "a dry run") == (
        "The database 'default' is SQLite; a dry run needs PostgreSQL. "
        'Set its ENGINE in DATABASES to "django.db.backends.postgresql".'
    )


@pytest.fixture
def stranger() -> Iterator[str]:
    """A role that may connect, and no more."""
    name = "confiture_stranger"
    connection.ensure_connection()
    execute = connection.connection.execute
    execute(sql.SQL("CREATE ROLE {} LOGIN").format(sql.Identifier(name)))
    yield name
    connection.ensure_connection()
    connection.connection.execute(sql.SQL("DROP ROLE {}").format(sql.Identifier(name)))


@pytest.mark.parametrize(
    ("name", "app", "start"),
    [
        ("confiture_accuracy", "django_confiture.history", "Cannot use the ledger in 'default': "),
        ("confiture_drift", "django_confiture", "Cannot read the schema of 'default': "),
        ("confiture_fix", "django_confiture", "Cannot rehearse on 'default': "),
        ("confiture_hooks", "django_confiture", "Cannot read the plan of 'default': "),
        ("migrate_dryrun", "django_confiture", "The role confiture_stranger may not read and "),
    ],
)
def test_a_role_without_rights(stranger: str, name: str, app: str, start: str) -> None:
    with connected_as(USER=stranger):
        said = refused(name, app)
    assert said.startswith(start)
    assert "onnect as the role that migrates, or " in said


@pytest.mark.parametrize(
    ("name", "app", "label"),
    [
        ("confiture_accuracy", "django_confiture.history", "confiture_history"),
        ("confiture_history_verify", "django_confiture.history", "confiture_history"),
        ("confiture_history_prune", "django_confiture.history", "confiture_history"),
        ("confiture_backfills", "django_confiture", "confiture_backfills"),
    ],
)
def test_tables_that_are_missing(name: str, app: str, label: str) -> None:
    call_command("migrate", label, "zero", verbosity=0)
    expected = f"Tables of the app are missing in 'default': manage.py migrate {label}"
    assert refused(name, app) == expected
    call_command("migrate", label, verbosity=0)
