"""Whatever a shipped hook meets, ``migrate`` ends in one line that says what it was."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import connection, migrations
from pytest_django import Settings

from tests.cases.migrations_on_disk import Cases
from tests.support import recording
from tests.support.logs import events
from tests.support.shipped_hooks import execute, in_phases, rehearse

STRANGE = 'cases_"odd".name'
QUOTED = '"cases_""odd"".name"'
VIEW = "cases_view"


def raises(*_: object) -> None:
    raise ValueError("no answer\nfrom the backup service")


def answers_nonsense(*_: object) -> str:
    return "lots"


HERE = f"{__name__}."
VETOES: dict[str, tuple[str, str, dict[str, Any], str]] = {
    "a table that is not there": (
        *("BEFORE_DDL", "capture_counts", {"tables": ["nowhere"]}),
        "There is no table 'nowhere' in the search path",
    ),
    "a schema that is not there": (
        *("BEFORE_DDL", "capture_counts", {"tables": ["no.where"]}),
        "There is no table 'no.where' in the search path",
    ),
    "a name with an empty part": (
        *("BEFORE_DDL", "capture_counts", {"tables": ["public."]}),
        "There is no table 'public.' in the search path",
    ),
    "a column that is not there": (
        *("BEFORE_DDL", "capture_counts", {"tables": {"recording_log": {"sum": ["nothing"]}}}),
        'capture_counts failed: UndefinedColumn: column "nothing" does not exist',
    ),
    "a column that has no sum": (
        *("BEFORE_DDL", "capture_counts", {"tables": {"recording_log": {"sum": ["what"]}}}),
        "capture_counts failed: UndefinedFunction: function sum(text) does not exist",
    ),
    "a query that is no SQL": (
        *("BEFORE_DDL", "capture_counts", {"queries": {"odd": "SELEKT 1"}}),
        'capture_counts failed: SyntaxError: syntax error at or near "SELEKT"',
    ),
    "a query that divides by zero": (
        *("BEFORE_DDL", "capture_counts", {"queries": {"odd": "SELECT 1 / 0"}}),
        "capture_counts failed: DivisionByZero: division by zero",
    ),
    "two values": (
        *("BEFORE_DDL", "capture_counts", {"queries": {"odd": "VALUES (1), (2)"}}),
        "The query 'odd' returned 2 rows of 1 column",
    ),
    "nothing captured": (
        *("AFTER_VALIDATION", "verify_consistency", {}),
        "There is nothing to compare with",
    ),
    "a provider that raises": (
        *("BEFORE_VALIDATION", "require_backup", {"provider": f"{HERE}raises"}),
        "require_backup failed: ValueError: no answer from the backup service",
    ),
    "a provider that answers nonsense": (
        *("BEFORE_VALIDATION", "require_backup", {"provider": f"{HERE}answers_nonsense"}),
        f"require_backup failed: TypeError: {HERE}answers_nonsense returned str",
    ),
    "a file that is not there": (
        *("BEFORE_VALIDATION", "require_backup", {"file": "/nowhere/*.dump"}),
        "There is no backup at '/nowhere/*.dump'",
    ),
    "a disk that is not there": (
        *("BEFORE_VALIDATION", "require_free_space", {"path": "/nowhere", "needed": "1MB"}),
        "require_free_space failed: FileNotFoundError: ",
    ),
    "a function of free space that raises": (
        *("BEFORE_VALIDATION", "require_free_space", {"free": f"{HERE}raises", "needed": "1MB"}),
        "require_free_space failed: ValueError: no answer from the backup service",
    ),
    "a query with too few parameters": (
        *("AFTER_VALIDATION", "run_queries"),
        {"queries": {"odd": {"sql": "SELECT %s, %s", "params": [1]}}},
        "the query 'odd' fails: ",
    ),
    "a query that needs another table": (
        *("AFTER_VALIDATION", "run_queries", {"queries": {"odd": "SELECT FROM nowhere"}}),
        "the query 'odd' fails: relation \"nowhere\" does not exist",
    ),
    "tenants that are not there": (
        *("AFTER_VALIDATION", "validate_tenant", {"tables": ["*"], "references": "nowhere"}),
        "There is no table 'nowhere' in the search path",
    ),
    "no table of a tenant": (
        *("AFTER_VALIDATION", "validate_tenant", {"tables": ["nowhere_*"]}),
        "No table matches 'nowhere_*'",
    ),
    "an unknown option": (
        *("BEFORE_DDL", "capture_counts", {"tabels": ["recording_log"]}),
        "capture_counts has the unknown option 'tabels'. Did you mean 'tables'?",
    ),
    "an option of the wrong kind": (
        *("BEFORE_VALIDATION", "require_no_long_transactions", {"longer_than": "soon"}),
        "require_no_long_transactions: OPTIONS[\"longer_than\"] is 'soon'",
    ),
    "a ledger that is not there": (
        *("BEFORE_VALIDATION", "require_recent_dry_run", {}),
        "require_recent_dry_run looks for dry runs in the ledger, which is not installed",
    ),
    "a server that is not there": (
        *("BEFORE_VALIDATION", "require_no_drift", {"server": "nowhere"}),
        "require_no_drift: OPTIONS[\"server\"] is 'nowhere', which is not in DATABASES",
    ),
    "a backfill that is not there": (
        *("AFTER_DDL", "backfill", {"backfill": "nowhere.backfills.Fill"}),
        "backfill: OPTIONS[\"backfill\"] is 'nowhere.backfills.Fill'",
    ),
}


@pytest.fixture(autouse=True)
def _tables(cases: Cases) -> Iterator[None]:
    with recording.recording():
        execute(
            f"CREATE TABLE {QUOTED} (id int PRIMARY KEY, tenant_id int NOT NULL)",
            f"INSERT INTO {QUOTED} VALUES (1, 7)",
            f"CREATE INDEX ON {QUOTED} (tenant_id)",
            "CREATE TABLE cases_tenant (id int PRIMARY KEY)",
            f"CREATE VIEW {VIEW} AS SELECT 1 AS id",
        )
        yield
        execute(f"DROP TABLE {QUOTED}, cases_tenant", f"DROP VIEW {VIEW}")
    connection.close()


def migrate_skipping_checks(cases: Cases) -> None:
    call_command("migrate", "cases", verbosity=0, skip_checks=True)


@pytest.mark.parametrize("case", VETOES)
def test_it_ends_in_one_line(cases: Cases, settings: Settings, case: str) -> None:
    phase, name, options, said = VETOES[case]
    cases.add("0001_works", recording.operation())
    settings.CONFITURE = in_phases(**{phase: (name, options)})
    with pytest.raises(CommandError) as refused:
        migrate_skipping_checks(cases)
    text = str(refused.value)
    assert "\n" not in text
    assert said in text
    assert cases.applied() == set()
    assert recording.persisted() == []


@pytest.mark.parametrize("case", [case for case in VETOES if "DDL" in VETOES[case][0]])
def test_a_dry_run_says_the_same(cases: Cases, settings: Settings, case: str) -> None:
    phase, name, options, said = VETOES[case]
    cases.add("0001_works", recording.operation())
    settings.CONFITURE = in_phases(**{phase: (name, options)})
    with pytest.raises(Exception, match="failed for migration") as failed:
        rehearse(cases, "0001_works")
    assert said in str(failed.value)


def test_tables_with_dots_quotes_and_views_are_measured(cases: Cases, settings: Settings) -> None:
    adds = migrations.RunSQL(f"INSERT INTO {QUOTED} VALUES (2, 7)")
    cases.add("0001_adds", adds)
    settings.CONFITURE = in_phases(
        BEFORE_DDL=("capture_counts", {"tables": [QUOTED, f"public.{QUOTED}", VIEW]}),
        AFTER_VALIDATION=("verify_consistency", {}),
    )
    with pytest.raises(CommandError) as refused:
        migrate_skipping_checks(cases)
    assert f"{QUOTED} was 1, is 2 (+1): 1 row new (keys 2)" in str(refused.value)
    assert VIEW not in str(refused.value)


def test_orphans_in_a_table_with_a_dot_in_its_name_are_found(
    cases: Cases, settings: Settings
) -> None:
    cases.add("0001_works", recording.operation())
    options = {"tables": ["cases_*odd*"], "references": "cases_tenant"}
    settings.CONFITURE = in_phases(AFTER_VALIDATION=("validate_tenant", options))
    with pytest.raises(CommandError) as refused:
        migrate_skipping_checks(cases)
    assert f"{STRANGE} has 1 row (keys 1) of no tenant in cases_tenant" in str(refused.value)


def test_what_was_written_to_is_analyzed_whatever_its_name(
    cases: Cases, settings: Settings
) -> None:
    cases.add("0001_adds", migrations.RunSQL(f"INSERT INTO {QUOTED} VALUES (2, 7)"))
    settings.CONFITURE = in_phases(CLEANUP=("analyze", {}))
    migrate_skipping_checks(cases)
    with connection.cursor() as cursor:
        query = "SELECT count(*) FROM pg_stats WHERE tablename = %s AND attname = 'id'"
        cursor.execute(query, [STRANGE])
        assert cursor.fetchall() == [(1,)]


@pytest.mark.parametrize(
    ("phase", "name", "options", "said"),
    [
        ("CLEANUP", "analyze", {"tables": ["nowhere"]}, "There is no table 'nowhere'"),
        ("CLEANUP", "analyze", {"min_rows": "many"}, 'OPTIONS["min_rows"] is'),
        ("CLEANUP", "notify", {"mail": "me"}, 'OPTIONS["mail"] is'),
    ],
)
def test_hooks_that_may_fail_let_the_migration_go_on(
    cases: Cases,
    settings: Settings,
    caplog: pytest.LogCaptureFixture,
    phase: str,
    name: str,
    options: dict[str, Any],
    said: str,
) -> None:
    cases.add("0001_works", recording.operation())
    settings.CONFITURE = in_phases(**{phase: (name, options)})
    migrate_skipping_checks(cases)
    assert cases.applied() == {"0001_works"}
    ((_, facts),) = events(caplog, "hook_failed")
    assert said in facts["error"]


def test_without_rights_it_says_so(cases: Cases, settings: Settings) -> None:
    execute("CREATE ROLE cases_poor", "GRANT USAGE ON SCHEMA public TO cases_poor")
    execute(f"REVOKE ALL ON {QUOTED} FROM PUBLIC")
    poor = migrations.RunSQL("SELECT 1")
    cases.add("0001_works", poor)
    queries = {"odd": f"SELECT count(*) FROM {QUOTED}"}
    settings.CONFITURE = in_phases(BEFORE_DDL=("capture_counts", {"queries": queries}))
    try:
        execute("GRANT ALL ON django_migrations TO cases_poor", "SET ROLE cases_poor")
        with pytest.raises(CommandError) as refused:
            migrate_skipping_checks(cases)
    finally:
        execute("RESET ROLE", "DROP OWNED BY cases_poor", "DROP ROLE cases_poor")
    said = (
        'capture_counts failed: InsufficientPrivilege: permission denied for table cases_"odd".name'
    )
    assert said in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_lock_timeout_in_a_hook_is_still_tried_again(
    cases: Cases, settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    from tests.support.sessions import holding

    cases.add("0001_works", recording.operation())
    captures = in_phases(BEFORE_DDL=("capture_counts", {"tables": ["recording_parent"]}))
    retries = {"LOCK_TIMEOUT": "100ms", "LOCK_RETRIES": 5, "RETRY_DELAY": "200ms"}
    settings.CONFITURE = {**captures, "MIGRATE": retries}
    with holding("LOCK recording_parent", until=lambda: events(caplog, "lock_timeout_retry")):
        migrate_skipping_checks(cases)
    assert cases.applied() == {"0001_works"}
    assert events(caplog, "lock_timeout_retry")


def test_a_dry_run_that_waits_in_vain_in_a_hook_does_not_blame_the_migration(
    cases: Cases, settings: Settings
) -> None:
    from tests.support.dry_run import rehearse as report_of
    from tests.support.sessions import holding

    cases.add("0001_works", recording.operation())
    execute("INSERT INTO recording_parent VALUES (1)")
    queries = {"locks": "SELECT id FROM recording_parent FOR UPDATE"}
    captures = in_phases(BEFORE_DDL=("capture_counts", {"queries": queries}))
    settings.CONFITURE = {**captures, "DRY_RUN": {"LOCK_TIMEOUT": "300ms"}}
    with holding("SELECT FROM recording_parent FOR UPDATE", name="nightly"):
        report = report_of(cases.loaded("0001_works"))
    assert (report.outcome, report.verdict) == ("failed", "stopped")
    assert report.migrations[0].outcome == "not_run"


def test_a_value_of_a_row_in_what_a_query_says_stays_out_of_the_report(
    cases: Cases, settings: Settings
) -> None:
    from tests.support.dry_run import rehearse as report_of

    cases.add("0001_works", recording.operation())
    queries = {"odd": "SELECT max(what)::integer FROM (SELECT 'secret' AS what) found"}
    settings.CONFITURE = in_phases(BEFORE_DDL=("capture_counts", {"queries": queries}))
    error = report_of(cases.loaded("0001_works")).migrations[0].error
    assert error is not None
    assert "invalid input syntax for type integer" in error.message
    assert "secret" not in error.message
