"""``ANALYZE`` after the commit, of what a migration rewrote, filled or indexed."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg
import pytest
from django.db import connection, migrations
from pytest_django import Settings

from django_confiture.signals import migration_started
from tests.cases.migrations_on_disk import Cases, query
from tests.support import recording
from tests.support.logs import events
from tests.support.sessions import holding

ANALYZE = {"MIGRATE": {"ANALYZE": True}}
FILL = "INSERT INTO recording_parent SELECT generate_series(1, 1000)"
NOTE = "ALTER TABLE recording_parent ADD note varchar(20) DEFAULT 'a'"


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
        ("ALTER TABLE recording_parent ALTER note TYPE varchar(50)", "type of a column"),
        ("ALTER TABLE recording_parent ALTER note TYPE text", "type of a column"),
    ],
)
def test_what_changed_is_analyzed(
    cases: Cases, caplog: pytest.LogCaptureFixture, statement: str, reason: str, atomic: bool
) -> None:
    with connection.cursor() as cursor:
        if statement != FILL:
            cursor.execute(FILL)
        cursor.execute(NOTE)
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
        "ALTER TABLE recording_parent ADD more text DEFAULT 'x'",
        "ALTER TABLE recording_parent RENAME note TO noted",
        "ALTER TABLE recording_parent DROP note",
        "CREATE INDEX parent_i ON recording_parent (id)",
        "INSERT INTO recording_parent SELECT generate_series(2001, 2010)",
    ],
)
def test_what_has_changed_little_is_not(
    cases: Cases, caplog: pytest.LogCaptureFixture, statement: str
) -> None:
    with connection.cursor() as cursor:
        cursor.execute(FILL)
        cursor.execute(NOTE)
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


@pytest.fixture
def partitioned() -> Iterator[None]:
    with connection.cursor() as cursor:
        cursor.execute(
            "CREATE TABLE cases_whole (id integer, note text) PARTITION BY RANGE (id);"
            "CREATE TABLE cases_low PARTITION OF cases_whole FOR VALUES FROM (0) TO (2000)"
            " WITH (autovacuum_enabled = off);"
            "CREATE TABLE cases_high PARTITION OF cases_whole FOR VALUES FROM (2000) TO (90000)"
            " PARTITION BY RANGE (id);"
            "CREATE TABLE cases_top PARTITION OF cases_high FOR VALUES FROM (2000) TO (90000)"
            " WITH (autovacuum_enabled = off);"
        )
    yield
    with connection.cursor() as cursor:
        cursor.execute("DROP TABLE cases_whole")


def tables_with_statistics() -> set[str]:
    rows = query("SELECT tablename FROM pg_stats WHERE tablename ~ '^cases_' AND attname = 'id'")
    return {str(table) for (table,) in rows}


@pytest.mark.parametrize(
    ("statement", "filled"),
    [
        (
            "INSERT INTO cases_whole SELECT generate_series(1, 5000)",
            {"cases_whole", "cases_low", "cases_high", "cases_top"},
        ),
        # 500 of 100,500 rows: a third of a partition, and next to nothing of the whole.
        (
            "INSERT INTO cases_whole SELECT generate_series(1, 500)",
            {"cases_low"},
        ),
    ],
)
def test_a_partitioned_table_is_analyzed_by_what_its_partitions_took(
    cases: Cases,
    caplog: pytest.LogCaptureFixture,
    partitioned: None,
    statement: str,
    filled: set[str],
) -> None:
    if len(filled) == 1:
        with connection.cursor() as cursor:
            cursor.execute(
                "INSERT INTO cases_whole SELECT 2000 + i % 80000 FROM generate_series(1, 100000) i"
            )
            cursor.execute("ANALYZE cases_top; SELECT pg_stat_force_next_flush()")
    before = tables_with_statistics()
    cases.add("0001_fills", migrations.RunSQL(statement))
    caplog.set_level("INFO", "django_confiture.migrate")
    cases.migrate()
    assert tables_with_statistics() - before == filled
    assert {reason for _, reason in analyzed(caplog)} == {"filled"}
    assert {table for table, _ in analyzed(caplog)} <= filled


@pytest.mark.parametrize(
    ("statement", "reason", "has_statistics"),
    [
        (
            "ALTER TABLE cases_whole ALTER note TYPE varchar(9) USING 'y'",
            "rewritten",
            "tablename = 'cases_whole' AND attname = 'note'",
        ),
        (
            "CREATE INDEX cases_whole_e ON cases_whole ((id / 10))",
            "index on an expression",
            "tablename = 'cases_low_expr_idx'",
        ),
    ],
)
def test_a_partitioned_table_counts_with_all_its_partitions(
    cases: Cases,
    caplog: pytest.LogCaptureFixture,
    partitioned: None,
    statement: str,
    reason: str,
    has_statistics: str,
) -> None:
    with connection.cursor() as cursor:
        cursor.execute("INSERT INTO cases_whole SELECT generate_series(1, 5000), 'x'")
        cursor.execute("ANALYZE cases_whole; SELECT pg_stat_force_next_flush()")
    cases.add("0001_changes", migrations.RunSQL(statement))
    caplog.set_level("INFO", "django_confiture.migrate")
    cases.migrate()
    assert {why for _, why in analyzed(caplog)} == {reason}
    assert query(f"SELECT count(*) FROM pg_stats WHERE {has_statistics}") == [(1,)]


def test_what_the_role_may_not_analyze_is_reported(
    cases: Cases, caplog: pytest.LogCaptureFixture
) -> None:
    """The server only warns, and skips it."""
    cases.add("0001_fill", migrations.RunSQL(FILL))
    with connection.cursor() as cursor:
        cursor.execute(
            "CREATE ROLE cases_poor;"
            " GRANT SELECT, INSERT, DELETE ON ALL TABLES IN SCHEMA public TO cases_poor;"
            " GRANT ALL ON ALL SEQUENCES IN SCHEMA public TO cases_poor; SET ROLE cases_poor"
        )
        try:
            cases.migrate()
        finally:
            cursor.execute("RESET ROLE; DROP OWNED BY cases_poor; DROP ROLE cases_poor")
    ((_, facts),) = events(caplog, "analyze_failed")
    assert facts["table"] == "recording_parent"
    assert '"recording_parent"' in facts["error"]
    assert analyzed(caplog) == []


def test_a_session_that_a_receiver_has_broken_says_so(cases: Cases) -> None:
    """The tables are read first, before anything of the migration."""
    cases.add("0001_fills", migrations.RunSQL(FILL))

    def break_it(**_facts: object) -> None:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1 / 0")

    migration_started.connect(break_it)
    try:
        with pytest.raises(psycopg.errors.InFailedSqlTransaction):
            cases.migrate()
    finally:
        migration_started.disconnect(break_it)
