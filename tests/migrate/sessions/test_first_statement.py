"""A migration that begins with SET TRANSACTION, which no query may come before.

Where the package watches or retries it, a savepoint comes first: docs/migrate.md says so.
"""

from __future__ import annotations

from typing import Any

import pytest
from django.db import connection, migrations
from psycopg import IsolationLevel
from pytest_django import Settings

from tests.cases.migrations_on_disk import Cases

SERIALIZABLE = "SET TRANSACTION ISOLATION LEVEL SERIALIZABLE"


@pytest.mark.parametrize(
    "chosen",
    [{}, {"ONE_AT_A_TIME": False}],
    ids=["one at a time", "several at once"],
)
def test_nothing_is_asked_before_it(cases: Cases, settings: Settings, chosen: Any) -> None:
    settings.CONFITURE = {"MIGRATE": chosen}
    cases.add("0001_any", migrations.RunSQL([SERIALIZABLE, "SELECT 1"]))
    cases.migrate()
    assert "0001_any" in cases.applied()


def test_the_level_of_the_alias_holds_whatever_is_set(
    cases: Cases, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    level = {"isolation_level": IsolationLevel.SERIALIZABLE}
    options = {**connection.settings_dict["OPTIONS"], **level}
    monkeypatch.setitem(connection.settings_dict, "OPTIONS", options)
    settings.CONFITURE = {"MIGRATE": {"LOCK_TIMEOUT": "2s", "LOCK_RETRIES": 2}}
    checks = "DO $$ BEGIN ASSERT current_setting('transaction_isolation') = 'serializable'; END $$"
    cases.add("0001_any", migrations.RunSQL(checks))
    connection.close()
    try:
        cases.migrate()
    finally:
        connection.close()
    assert "0001_any" in cases.applied()
