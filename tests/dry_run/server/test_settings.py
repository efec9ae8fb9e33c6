"""What a dry run sets, on servers that refuse some of it."""

from __future__ import annotations

import psycopg
import pytest
from django.db import connection

from django_confiture.dry_run.clone import maintenance as module
from django_confiture.dry_run.results import Write
from django_confiture.dry_run.server import settings
from django_confiture.dry_run.server.side_channel import Session
from django_confiture.exceptions import DryRunRefused
from tests.support.dry_run import migration, parameters, python, rehearse, runs

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


UNCOUNTED = "ALTER TABLE dry_row ADD CHECK (id > 0); UPDATE dry_row SET number = 1"


def test_where_the_server_counts_nothing_the_dry_run_makes_it_count(untouched: None) -> None:
    """Nothing would be seen of scans and rows: a rewrite of the table would be all there is."""
    with connection.cursor() as cursor:
        cursor.execute("SET track_counts = off")
    try:
        (result,) = rehearse(migration(runs(UNCOUNTED))).migrations
        with connection.cursor() as cursor:
            cursor.execute("SHOW track_counts")
            assert cursor.fetchall() == [("off",)]
    finally:
        connection.close()
    check, update = result.operations[0].statements
    assert [each.relation for each in check.scans] == ["dry_row"]
    assert update.writes == (Write("dry_row", 0, 1000, 0),)
    assert "check-constraint-scan" in [each.id for each in result.findings]


def test_a_role_that_can_not_make_it_count_is_refused(scratch: None) -> None:
    with psycopg.connect(**parameters(), autocommit=True) as plain:
        session = Session(plain)
        session.query("CREATE ROLE dry_uncounted")
        try:
            session.query("SET ROLE dry_uncounted")
            assert "track_counts" not in settings.measuring(session, {})
            session.query("RESET ROLE")
            session.query("SET track_counts = off")
            assert settings.measuring(session, {}) == {"track_counts": "on"}
            session.query("SET ROLE dry_uncounted")
            with pytest.raises(DryRunRefused, match="counts neither scans nor rows"):
                settings.measuring(session, {})
        finally:
            session.query("RESET ROLE")
            session.query("DROP ROLE dry_uncounted")
