"""No ``lock_timeout`` where a wait blocks no one; what a failed CONCURRENTLY leaves is named."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest
from django.db import DatabaseError, connection, connections, migrations
from pytest_django import Settings

from django_confiture.migrate.patient_statements import is_concurrent
from tests.cases.migrations_on_disk import Cases, query
from tests.support import recording
from tests.support.sessions import holding

TIMEOUT = {"LOCK_TIMEOUT": "100ms"}
WAIT_S = 0.5


@pytest.fixture(autouse=True)
def _tables(cases: Cases) -> Iterator[None]:
    with recording.recording():
        execute("INSERT INTO recording_parent VALUES (1), (2)")
        yield
    connections["default"].close()


def execute(sql: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(sql)


def is_valid(index: str) -> bool:
    ((valid,),) = query("SELECT indisvalid FROM pg_index WHERE indexrelid = %s::regclass", index)
    return bool(valid)


WRITES = "INSERT INTO recording_parent VALUES (3)"


@pytest.mark.parametrize(
    "statement",
    [
        "CREATE INDEX CONCURRENTLY parent_i ON recording_parent (id)",
        "-- a /* b */\n  create unique index\n concurrently parent_i ON recording_parent (id)",
        "/* a /* b */ c */ CREATE INDEX CONCURRENTLY parent_i ON recording_parent (id)",
    ],
)
def test_an_index_waits_for_a_writer(cases: Cases, settings: Settings, statement: str) -> None:
    cases.add("0001_index", migrations.RunSQL(statement), atomic=False)
    settings.CONFITURE = {"MIGRATE": TIMEOUT}
    with holding(WRITES, waited_for_s=WAIT_S):
        cases.migrate()
    assert is_valid("parent_i")
    assert query("SELECT current_setting('lock_timeout')") == [("0",)]


def test_dropping_and_rebuilding_an_index_wait_as_well(cases: Cases, settings: Settings) -> None:
    execute("CREATE INDEX parent_i ON recording_parent (id) WHERE id > 5")
    execute("CREATE INDEX parent_j ON recording_parent (id) WHERE id > 6")
    cases.add("0001_drop", migrations.RunSQL("DROP INDEX CONCURRENTLY parent_i"), atomic=False)
    cases.add("0002_again", migrations.RunSQL("REINDEX INDEX CONCURRENTLY parent_j"), atomic=False)
    settings.CONFITURE = {"MIGRATE": TIMEOUT}
    with holding(WRITES, waited_for_s=WAIT_S):
        cases.migrate("0001")
    with holding(WRITES, waited_for_s=WAIT_S):
        cases.migrate("0002")
    assert is_valid("parent_j")


NOT_VALID = "ALTER TABLE recording_child ADD CONSTRAINT child_c CHECK (parent_id > 0) NOT VALID"
VALIDATE = 'ALTER TABLE "recording_child" VALIDATE CONSTRAINT child_c'


@pytest.mark.parametrize("atomic", [True, False])
def test_validating_waits_where_no_one_waits_behind_it(
    cases: Cases, settings: Settings, atomic: bool
) -> None:
    execute(NOT_VALID)
    cases.add("0001_validates", migrations.RunSQL(VALIDATE), atomic=atomic)
    settings.CONFITURE = {"MIGRATE": TIMEOUT}
    with holding("LOCK recording_child IN SHARE UPDATE EXCLUSIVE MODE", waited_for_s=WAIT_S):
        cases.migrate()
    assert query("SELECT convalidated FROM pg_constraint WHERE conname = 'child_c'") == [(True,)]


def test_validating_keeps_the_timeout_under_a_lock_that_blocks_others(
    cases: Cases, settings: Settings
) -> None:
    execute(NOT_VALID)
    alters = migrations.RunSQL("ALTER TABLE recording_parent ADD note text")
    cases.add("0001_validates", alters, migrations.RunSQL(VALIDATE))
    settings.CONFITURE = {"MIGRATE": TIMEOUT}
    with (
        holding("LOCK recording_child IN SHARE UPDATE EXCLUSIVE MODE"),
        pytest.raises(DatabaseError, match="lock timeout"),
    ):
        cases.migrate()


def test_every_other_statement_keeps_it(cases: Cases, settings: Settings) -> None:
    both = f"{VALIDATE}; ALTER TABLE recording_child ADD note text"
    execute(NOT_VALID)
    cases.add("0001_alters", migrations.RunSQL(both), atomic=False)
    settings.CONFITURE = {"MIGRATE": TIMEOUT}
    started = time.monotonic()
    with (
        holding("LOCK recording_child IN SHARE MODE"),
        pytest.raises(DatabaseError, match="lock timeout"),
    ):
        cases.migrate()
    assert time.monotonic() - started < 5


CREATES = "CREATE UNIQUE INDEX CONCURRENTLY parent_i ON recording_parent ((id / 10))"


@pytest.mark.parametrize("given", [{}, {"MIGRATE": TIMEOUT}])
def test_an_invalid_index_that_was_left_is_named_with_the_way_on(
    cases: Cases, settings: Settings, given: dict[str, Any]
) -> None:
    cases.add("0001_index", migrations.RunSQL(CREATES), atomic=False)
    settings.CONFITURE = given
    left = (
        'The INVALID index "parent_i" on "recording_parent" was left behind: it slows writes down '
        'and serves no query. Run DROP INDEX CONCURRENTLY "parent_i"; and migrate again, or set '
        'CONFITURE["MIGRATE"]["RESUME"] = True (with django_confiture.history), and the next '
        "migrate does both."
    )
    with pytest.raises(DatabaseError, match="could not create unique index") as caught:
        cases.migrate()
    assert caught.value.__notes__ == [left]
    assert not is_valid("parent_i")
    with pytest.raises(DatabaseError, match="already exists") as again:
        cases.migrate()
    assert again.value.__notes__ == [left]


def test_an_error_without_an_invalid_index_says_nothing_of_one(
    cases: Cases, settings: Settings
) -> None:
    cases.add("0001_index", migrations.RunSQL(CREATES.replace("id / 10", "nothing")), atomic=False)
    settings.CONFITURE = {}
    with pytest.raises(DatabaseError, match="does not exist") as caught:
        cases.migrate()
    assert not hasattr(caught.value, "__notes__")


@pytest.mark.parametrize(
    ("statement", "expected"),
    [
        ("CREATE INDEX CONCURRENTLY i ON t (a)", True),
        ("  \n-- x\nREINDEX (VERBOSE) TABLE CONCURRENTLY t", True),
        ("REINDEX (VERBOSE, CONCURRENTLY) TABLE t", True),
        ("CREATE INDEX i ON t (concurrently)", False),
        ("SELECT 'CREATE INDEX CONCURRENTLY'", False),
        ("-- CREATE INDEX CONCURRENTLY i", False),
    ],
)
def test_what_works_concurrently(statement: str, expected: bool) -> None:
    assert is_concurrent(statement) is expected
    assert connection.vendor == "postgresql"
