"""A migration that keeps the server from counting: what comes then is not exact."""

from __future__ import annotations

import pytest
from django.db import connection
from django.db.migrations import Migration

from tests.support.dry_run import migration, python, rehearse, runs

UPDATE = "UPDATE dry_row SET number = 1"
BLOCK = "DO $$ BEGIN PERFORM set_config('track_counts', 'off', true); {}; END $$"


def by_parameter() -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT set_config(%s, %s, false)", ["track_counts", "off"])
        cursor.execute(UPDATE)


def exactness(*plan: Migration) -> list[str]:
    return [each.rehearsed for m in rehearse(*plan).migrations for each in m.operations]


@pytest.mark.parametrize(
    "script",
    [
        f"SET track_counts = off; {UPDATE}; SET track_counts = on",
        f"SET LOCAL track_counts TO 'off'; {UPDATE}",
        f"SET track_counts = false; {UPDATE}; RESET track_counts",
        BLOCK.format(UPDATE),
    ],
)
def test_what_is_not_counted_is_not_exact(untouched: None, script: str) -> None:
    (result,) = rehearse(migration(runs(script))).migrations

    (operation,) = result.operations
    assert operation.rehearsed == "not_rehearsed"
    assert operation.reason.startswith("track_counts was switched off")


def test_until_it_is_counted_again(untouched: None) -> None:
    off = migration(python(by_parameter), runs("SELECT 1"), name="0002_off")
    on = migration(runs(UPDATE), runs("SET track_counts = on"), runs(UPDATE), name="0003_on")

    try:
        found = exactness(off, on)
    finally:
        connection.close()

    assert found == ["not_rehearsed"] * 4 + ["exact"]


@pytest.mark.parametrize(
    "script", [UPDATE, f"SET track_counts = on; {UPDATE}", "SELECT 'track_counts off'"]
)
def test_what_is_counted_is_exact(untouched: None, script: str) -> None:
    assert exactness(migration(runs(script))) == ["exact"]
