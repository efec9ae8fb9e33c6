"""The session of one ``migrate``: all of it ends, though the end of something fails."""

from __future__ import annotations

from time import monotonic, sleep

import pytest
from django.db import migrations
from pytest_django import Settings

from django_confiture.migrate.watching.watch import Watch
from tests.cases.migrations_on_disk import Cases, query

LOCKS = (
    "SELECT count(*) FROM pg_locks l JOIN pg_database d ON d.oid = l.database"
    " WHERE l.locktype = 'advisory' AND d.datname = current_database()"
)


def test_the_turn_ends_though_the_watch_does_not(
    cases: Cases, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    stop = Watch.stop

    def fails(watch: Watch) -> None:
        stop(watch)
        raise RuntimeError("the watch")

    settings.CONFITURE = {"MIGRATE": {"LOCK_TIMEOUT": "9s"}}
    monkeypatch.setattr(Watch, "stop", fails)
    cases.add("0001_nothing", migrations.RunSQL("SELECT 1"))

    with pytest.raises(RuntimeError, match="the watch"):
        cases.migrate()

    deadline = monotonic() + 10
    while query(LOCKS) != [(0,)]:  # the server ends a session soon after it was closed
        assert monotonic() < deadline
        sleep(0.02)
