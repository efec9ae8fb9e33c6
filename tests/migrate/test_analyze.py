"""``ANALYZE`` after the commit, of what a migration rewrote, filled or indexed."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from django.db import connection, migrations
from pytest_django import Settings

from tests.cases.migrations_on_disk import Cases, query
from tests.support import recording
from tests.support.logs import events
from tests.support.sessions import holding

ANALYZE = {"MIGRATE": {"ANALYZE": True}}
FILL = "INSERT INTO recording_parent SELECT generate_series(1, 1000)"


@pytest.fixture(autouse=True)
def _tables(cases: Cases, settings: Settings) -> Iterator[None]:
    settings.CONFITURE = ANALYZE
    with recording.recording():
        with connection.cursor() as cursor:
            cursor.execute("ALTER TABLE recording_parent SET (autovacuum_enabled = off)")
        yield
    connection.close()


def analyzed(caplog: pytest.LogCaptureFixture) -> list[tuple[str, str]]:
    return [(facts["table"], facts["reason"]) for _, facts in events(caplog, "analyzed")]


@pytest.mark.parametrize("atomic", [True, False])
@pytest.mark.parametrize(
    ("statement", "reason"),
    [
        (FILL, "filled"),
        ("UPDATE recording_parent SET id = id + 10000", "filled"),
        ("ALTER TABLE recording_parent ALTER id TYPE bigint", "rewritten"),
        ("CREATE INDEX parent_e ON recording_parent ((id / 10))", "index on an expression"),
    ],
)
def test_what_changed_is_analyzed(
    cases: Cases, caplog: pytest.LogCaptureFixture, statement: str, reason: str, atomic: bool
) -> None:
    with connection.cursor() as cursor:
        if statement != FILL:
            cursor.execute(FILL)
        cursor.execute("ANALYZE recording_parent; SELECT pg_stat_force_next_flush()")
    cases.add("0001_changes", migrations.RunSQL(statement), atomic=atomic)
    caplog.set_level("INFO", "django_confiture.migrate")
    cases.migrate()
    assert analyzed(caplog) == [("recording_parent", reason)]
    ((_, facts),) = events(caplog, "analyzed")
    assert (facts["migration"], facts["app_label"]) == ("0001_changes", "cases")
    assert facts["duration_ms"] >= 0
    if "INDEX" in statement:
        rows = query("SELECT count(*) FROM pg_stats WHERE tablename = 'parent_e'")
        assert rows == [(1,)]


@pytest.mark.parametrize(
    "statement",
    [
        "ALTER TABLE recording_parent ADD note text DEFAULT 'x'",
        "CREATE INDEX parent_i ON recording_parent (id)",
        "INSERT INTO recording_parent SELECT generate_series(2001, 2010)",
    ],
)
def test_what_has_changed_little_is_not(
    cases: Cases, caplog: pytest.LogCaptureFixture, statement: str
) -> None:
    with connection.cursor() as cursor:
        cursor.execute(FILL)
        cursor.execute("ANALYZE recording_parent; SELECT pg_stat_force_next_flush()")
    cases.add("0001_little", migrations.RunSQL(statement))
    caplog.set_level("INFO", "django_confiture.migrate")
    cases.migrate()
    assert analyzed(caplog) == []


def test_without_the_setting_nothing_is(
    cases: Cases, settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    settings.CONFITURE = {}
    cases.add("0001_fills", migrations.RunSQL(FILL))
    caplog.set_level("INFO", "django_confiture.migrate")
    cases.migrate()
    assert analyzed(caplog) == []


def test_it_waits_for_no_lock_and_fails_no_migration(
    cases: Cases, settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    settings.CONFITURE = {"MIGRATE": {"ANALYZE": True, "LOCK_TIMEOUT": "100ms"}}
    cases.add("0001_fills", migrations.RunSQL(FILL))
    with holding("LOCK recording_parent IN SHARE UPDATE EXCLUSIVE MODE"):
        cases.migrate()
    ((_, facts),) = events(caplog, "analyze_failed")
    assert (facts["table"], facts["reason"]) == ("recording_parent", "filled")
    assert facts["error"] == "canceling statement due to lock timeout"
    assert cases.applied() == {"0001_fills"}
    assert query("SELECT count(*) FROM recording_parent") == [(1000,)]
