"""What a dry run sets, on servers that refuse some of it."""

from __future__ import annotations

import pytest
from django.db import connection

from django_confiture.dry_run.clone import maintenance as module
from django_confiture.dry_run.server import settings
from tests.support.dry_run import migration, parameters, python, rehearse

NAME = "client_connection_check_interval"

# The server's own errors for a value that it can't do, as on Windows, and for an unknown name.
refused = pytest.mark.parametrize(
    "setting", [{NAME: "-1"}, {"client_connection_check": "2s"}], ids=["value", "name"]
)


def shown() -> str:
    with connection.cursor() as cursor:
        cursor.execute(f"SHOW {NAME}")
        return str(cursor.fetchone()[0])


def test_a_killed_client_is_noticed(untouched: None) -> None:
    seen: list[str] = []

    rehearse(migration(python(lambda: seen.append(shown()))))

    assert seen == ["2s"]


@refused
@pytest.mark.parametrize("nested", [False, True], ids=["alone", "in a transaction"])
def test_a_server_that_refuses_to_look_for_the_client(
    untouched: None, setting: dict[str, str], nested: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(settings, "OPTIONAL", setting)
    seen: list[str] = []

    if nested:
        connection.set_autocommit(False)
    try:
        report = rehearse(migration(python(lambda: seen.append(shown()))))
    finally:
        if nested:
            connection.rollback()
            connection.set_autocommit(True)

    assert (report.outcome, seen) == ("passed", ["0"])


@refused
def test_a_server_that_can_be_copied_from_all_the_same(
    scratch: None, setting: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(settings, "OPTIONAL", setting)
    monkeypatch.setattr(module, "OPTIONAL", setting)

    with module.maintenance_connection(connection, parameters()["dbname"]) as maintenance:
        assert maintenance.execute(f"SHOW {NAME}").fetchone() == ("0",)
