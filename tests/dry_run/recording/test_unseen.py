"""What the server did counts, whether the statements that did it were caught or not."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from django.db import connection

from django_confiture.dry_run.interception.interceptor import Interceptor
from django_confiture.dry_run.results import MigrationResult
from django_confiture.reports import render
from tests.support.clone import on_a_copy, only, source
from tests.support.dry_run import migration, only_operation, passed, python, rehearse, runs, table

__all__ = ["source"]

REWRITE = "ALTER TABLE dry_row ALTER number TYPE bigint"


@pytest.fixture
def nothing_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    """Switch the catching of statements off; what ends transactions is still caught."""

    def wrap(self: Interceptor, method: str) -> Callable[[Any], Any]:
        return lambda original: original

    monkeypatch.setattr(Interceptor, "_sending", wrap)


def past_psycopg(sql: str) -> Callable[[], None]:
    """Send SQL below everything that is caught."""

    def send() -> None:
        connection.connection.pgconn.exec_(sql.encode())

    return send


def judged(result: MigrationResult) -> set[tuple[str, str, str | None, int | None]]:
    return {(f.id, f.severity, f.relation, f.operation) for f in result.findings}


def measured(result: MigrationResult) -> dict[str, tuple[Any, ...]]:
    return {
        t.relation: (t.strongest_lock, t.rewritten, t.rows_written, t.reads_blocked_ms > 0)
        for t in result.tables
        if t.relation.startswith("dry_")
    }


KINDS = {
    "rewrite": REWRITE,
    "writes": "UPDATE dry_row SET number = 1",
    "deletes": "DELETE FROM dry_row",
    "cascade": "DELETE FROM dry_parent WHERE id < 4",
    "validated": "ALTER TABLE dry_row ADD CONSTRAINT c CHECK (number > 0)",
    "lock alone": "LOCK TABLE dry_row IN SHARE MODE",
    "no rewrite": "ALTER TABLE dry_row ADD extra int",
    "index": "CREATE INDEX dry_i ON dry_row (number)",
    "truncate": "TRUNCATE dry_child",
}


@pytest.mark.parametrize("sql", KINDS.values(), ids=KINDS.keys())
@pytest.mark.parametrize("locked_before", [False, True])
def test_measured_without_being_caught(
    scratch: None, sql: str, *, locked_before: bool, request: pytest.FixtureRequest
) -> None:
    before = [runs("LOCK TABLE dry_row, dry_parent, dry_child IN ROW EXCLUSIVE MODE")]
    operations = [*(before if locked_before else []), runs(sql)]
    caught = passed(*operations)
    request.getfixturevalue("nothing_caught")
    unseen = passed(*operations)
    assert measured(unseen) == measured(caught)
    operation = unseen.operations[-1]
    (statement,) = operation.statements
    assert statement.sql is None
    assert operation.rehearsed == "not_rehearsed"
    assert "not caught" in operation.reason
    known = caught.operations[-1].statements[-1]
    for name in ("rewrites", "writes", "indexes_built", "constraints"):
        assert getattr(statement, name) == getattr(known, name)


@pytest.mark.parametrize("name", ["rewrite", "writes", "deletes", "validated", "index"])
def test_findings_and_verdict_stay(
    scratch: None, name: str, request: pytest.FixtureRequest
) -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO dry_row SELECT i, 'x', i, 'y' FROM generate_series(1001, 30000) i;"
            "ANALYZE dry_row"
        )
    caught = passed(runs(KINDS[name]))
    request.getfixturevalue("nothing_caught")
    unseen = passed(runs(KINDS[name]))
    harm = {(f.severity, f.relation) for f in caught.findings if f.basis == "measured"}
    assert harm
    assert harm <= {(f.severity, f.relation) for f in unseen.findings}


def test_below_psycopg_among_what_is_caught(scratch: None) -> None:
    result = passed(
        runs("UPDATE dry_parent SET name = 'x'"),
        python(past_psycopg(REWRITE)),
        runs("UPDATE dry_child SET parent_id = 1"),
    )
    first, hidden, last = result.operations
    assert [first.rehearsed, hidden.rehearsed, last.rehearsed] == [
        "exact", "not_rehearsed", "exact",
    ]  # fmt: skip
    (statement,) = hidden.statements
    assert (statement.sql, statement.rewrites) == (None, ("dry_row",))
    assert 0 < statement.duration_ms <= hidden.duration_ms + 1
    assert ("table-rewrite", "danger", "dry_row", 1) in judged(result)
    assert table(result, "dry_row").reads_blocked_ms > 0


@pytest.mark.parametrize(
    "code",
    [
        "SET CONSTRAINTS ALL IMMEDIATE",
        "PREPARE p AS UPDATE dry_row SET number = 1; DEALLOCATE p",
        "DECLARE c CURSOR FOR SELECT * FROM dry_row FOR UPDATE; FETCH 10 FROM c; CLOSE c",
        "SELECT 1",
        "SET LOCAL work_mem = '8MB'",
    ],
)
@pytest.mark.parametrize("atomic", [True, False])
def test_what_is_caught_is_never_unseen(scratch: None, code: str, *, atomic: bool) -> None:
    operation = only_operation(
        runs(f"INSERT INTO dry_child VALUES (1001, 1); {code}"), atomic=atomic
    )
    assert operation.rehearsed == "exact"
    assert all(statement.sql for statement in operation.statements)


def test_the_lock_of_nextval_outlives_a_savepoint_and_is_not_unseen(
    scratch_tables: Any, scratch: None
) -> None:
    scratch_tables.observers["default"].execute("CREATE TABLE dry_log (id serial, t text)")

    result = passed(
        runs("SAVEPOINT a; INSERT INTO dry_log (t) VALUES ('x'); ROLLBACK TO a"), runs("SELECT 1")
    )

    assert [each.rehearsed for each in result.operations] == ["exact", "exact"]


def test_an_error_that_is_swallowed_is_not_unseen(scratch: None) -> None:
    def code() -> None:
        with connection.cursor() as cursor:
            for _time in range(3):
                try:
                    cursor.execute("ALTER TABLE dry_row ADD CONSTRAINT c CHECK (number > 5)")
                except Exception:  # noqa: BLE001
                    continue

    (operation,) = passed(python(code), atomic=False).operations
    assert operation.rehearsed == "exact"
    assert all(statement.sql for statement in operation.statements)


@pytest.mark.usefixtures("source", "nothing_caught")
@pytest.mark.parametrize("name", ["rewrite", "writes", "validated", "index"])
def test_the_floor_holds_on_a_clone(name: str) -> None:
    (operation,) = only(on_a_copy(migration(runs(KINDS[name])))).operations

    (statement,) = operation.statements
    assert (statement.sql, operation.rehearsed) == (None, "not_rehearsed")
    assert (
        statement.rewrites or statement.writes or statement.constraints or statement.indexes_built
    )


@pytest.fixture
def report_of_unseen(scratch: None) -> Any:
    return rehearse(migration(python(past_psycopg(REWRITE))))


def test_the_reports_say_it(report_of_unseen: Any) -> None:
    document = json.loads(render(report_of_unseen, "json"))
    (operation,) = document["migrations"][0]["operations"]
    assert operation["statements"][0]["sql"] is None
    assert document["coverage"]["exact"] == 0
    for format_ in ("text", "markdown", "html"):
        assert "not caught" in render(report_of_unseen, format_), format_


def test_a_view_of_the_catalog_that_locks_sequences_is_not_unseen(
    scratch: Any, scratch_tables: Any
) -> None:
    scratch_tables.observers["default"].execute("CREATE TABLE dry_numbered (id serial)")

    operation = only_operation(runs("SELECT last_value FROM pg_sequences"))

    assert operation.rehearsed == "exact"
    assert [each.sql is None for each in operation.statements] == [False]


# Locks that are held already are seen by no view, so what code takes of them is not known.

DYNAMIC = """
    CREATE FUNCTION dry_dynamic(code text) RETURNS void LANGUAGE plpgsql AS
      $$ BEGIN EXECUTE code; END $$;
    CREATE FUNCTION dry_locks() RETURNS void LANGUAGE plpgsql AS
      $$ BEGIN LOCK TABLE dry_row; END $$;
    CREATE FUNCTION dry_elsewhere() RETURNS void LANGUAGE plpgsql AS
      $$ BEGIN LOCK TABLE dry_parent; END $$;
"""


@pytest.mark.parametrize(
    ("code", "rehearsed"),
    [
        ("SELECT dry_dynamic('ALTER TABLE dry_row ADD y int')", "not_rehearsed"),
        ("SELECT dry_locks()", "not_rehearsed"),
        ("DO $$ BEGIN ALTER TABLE dry_row ADD y int; END $$", "not_rehearsed"),
        ("DO $$ BEGIN EXECUTE 'ALTER TABLE dry_' || 'row ADD y int'; END $$", "not_rehearsed"),
        ("SELECT dry_elsewhere()", "exact"),
        ("SELECT count(*) FROM dry_row", "exact"),
    ],
)
def test_what_code_locks_of_a_table_that_is_held(
    scratch: Any, scratch_tables: Any, code: str, rehearsed: str
) -> None:
    scratch_tables.observers["default"].execute(DYNAMIC)
    holds = migration(runs("ALTER TABLE dry_row ADD x int"), name="0001_holds")

    _first, second = rehearse(holds, migration(runs(code), name="0002_code")).migrations

    (operation,) = second.operations
    assert operation.rehearsed == rehearsed
    said = "dry_row is not known: the dry run holds" in " ".join(
        [operation.reason, *second.warnings]
    )
    assert said is ("count" not in code)
