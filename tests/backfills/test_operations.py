"""StartBackfill and RequireBackfill, in real migrations."""

from __future__ import annotations

import logging
from io import StringIO
from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.core.management import call_command
from django.db import connection, migrations
from django.db.backends.sqlite3.base import DatabaseWrapper
from django.db.migrations.operations.base import Operation
from django.db.migrations.state import ProjectState
from django.db.migrations.writer import MigrationWriter, OperationWriter

from django_confiture.exceptions import BackfillError, BackfillLookupError, BackfillRefusal
from django_confiture.operations import RequireBackfill, StartBackfill
from tests.cases.migrations_on_disk import Cases
from tests.support.backfills import PATH, books, counters, execute, shelf

__all__ = ["shelf"]  # a fixture

FILL = PATH + "FillSortTitle"


def status(name: str = FILL) -> Any:
    from django_confiture.backfills.status import statuses

    (found,) = statuses("default", [name])
    return found


def complete(name: str = FILL) -> None:
    from django_confiture.backfills.in_process import run_here

    run_here(name, using="default", actor="the test")


# What is written to files.


@pytest.mark.parametrize(
    ("operation", "text", "described", "fragment"),
    [
        (
            StartBackfill(FILL),
            f"StartBackfill(\n    backfill='{FILL}',\n),",
            f"Start backfill {FILL}",
            "start_backfill_fillsorttitle",
        ),
        (
            RequireBackfill(FILL),
            f"RequireBackfill(\n    backfill='{FILL}',\n),",
            f"Require backfill {FILL}",
            "require_backfill_fillsorttitle",
        ),
        (
            RequireBackfill(FILL, finish=True),
            f"RequireBackfill(\n    backfill='{FILL}',\n    finish=True,\n),",
            f"Require backfill {FILL} (finish it)",
            "require_backfill_fillsorttitle",
        ),
    ],
)
def test_round_trip(operation: Any, text: str, described: str, fragment: str) -> None:
    written, imports = OperationWriter(operation, indentation=0).serialize()
    assert written == f"django_confiture.operations.{text}"
    assert imports == {"import django_confiture.operations"}
    migration = type("Migration", (migrations.Migration,), {"operations": [operation]})
    file = MigrationWriter(migration("0001_case", "cases")).as_string()
    scope: dict[str, Any] = {}
    exec(file, scope)
    (again,) = scope["Migration"].operations
    assert again.deconstruct() == operation.deconstruct()
    assert type(again) is type(operation)
    assert (operation.describe(), operation.migration_name_fragment) == (described, fragment)


@pytest.mark.usefixtures("shelf")
def test_sqlmigrate_starts_nothing_inside_separate_database_and_state(cases: Cases) -> None:
    from django_confiture.backfills.status import statuses

    operations: list[Operation] = [StartBackfill(FILL), RequireBackfill(FILL)]
    cases.add("0001_fill", migrations.SeparateDatabaseAndState(database_operations=operations))
    out = StringIO()
    call_command("sqlmigrate", "cases", "0001", stdout=out)
    assert f"-- Start backfill {FILL}: no SQL\n-- Require backfill {FILL}: no SQL" in (
        out.getvalue()
    )
    call_command("sqlmigrate", "cases", "0001", backwards=True, stdout=out)
    assert statuses("default", [FILL]) == []


def test_a_class_is_refused() -> None:
    with pytest.raises(TypeError, match="write the dotted path of a Backfill"):
        StartBackfill(int)  # type: ignore[arg-type]


# What they do.


@pytest.mark.usefixtures("shelf")
def test_start_queues_after_commit(cases: Cases, caplog: pytest.LogCaptureFixture) -> None:
    books(100)
    cases.add("0001_start", StartBackfill(FILL))
    with caplog.at_level(logging.INFO, "django_confiture.backfills"):
        cases.migrate()
    assert (status().state, status().done) == ("queued", 0)
    assert f"{FILL} is queued. " in caplog.text


@pytest.mark.usefixtures("shelf")
def test_a_migration_that_fails_queues_nothing(cases: Cases) -> None:
    from django_confiture.backfills.models import BackfillRun

    books(100)
    cases.add("0001_start", StartBackfill(FILL), migrations.RunSQL("SELECT 1 / 0"))
    with pytest.raises(Exception, match="division by zero"):
        cases.migrate()
    assert not BackfillRun.objects.exists()


@pytest.mark.usefixtures("shelf")
def test_start_on_an_empty_table_is_complete_at_once(cases: Cases) -> None:
    cases.add("0001_start", StartBackfill(FILL))
    cases.add("0002_require", RequireBackfill(FILL))
    cases.migrate()
    assert (status().state, status().total) == ("completed", 0)


@pytest.mark.usefixtures("shelf")
def test_backwards_cancels_and_forwards_begins_again(cases: Cases) -> None:
    books(100)
    cases.add("0001_start", StartBackfill(FILL))
    cases.migrate()
    cases.migrate("zero")
    assert status().state == "cancelled"
    cases.migrate()
    complete()
    cases.migrate("zero")
    assert status().state == "cancelled"
    execute("UPDATE shelf_book SET sort_title = NULL")
    cases.migrate()
    assert (status().state, status().done) == ("queued", 0)


@pytest.mark.usefixtures("shelf")
def test_require_refuses_with_how_much_is_left(cases: Cases) -> None:
    books(1234)
    cases.add("0001_start", StartBackfill(FILL))
    cases.add("0002_require", RequireBackfill(FILL))
    with pytest.raises(BackfillRefusal) as caught:
        cases.migrate()
    assert str(caught.value) == (
        f"Backfill {FILL} is queued, and 1,234 rows are left to do. "
        f"Run manage.py confiture_backfills run {FILL}, then migrate again; "
        "or write RequireBackfill(..., finish=True)."
    )
    assert cases.applied() == {"0001_start"}
    complete()
    cases.migrate()
    assert cases.applied() == {"0001_start", "0002_require"}


@pytest.mark.usefixtures("shelf")
@pytest.mark.parametrize(
    ("state", "command"),
    [("paused", "resume"), ("failed", "retry"), ("cancelled", "retry"), ("running", "run")],
)
def test_the_refusal_names_the_command_that_helps(cases: Cases, state: str, command: str) -> None:
    from django_confiture.backfills.models import BackfillRun

    books(10)
    BackfillRun.objects.create(name=FILL, state=state)
    cases.add("0001_require", RequireBackfill(FILL))
    with pytest.raises(BackfillError, match=f"is {state}.* confiture_backfills {command} "):
        cases.migrate()


@pytest.mark.usefixtures("shelf")
def test_require_refuses_rows_that_came_after_it_was_complete(cases: Cases) -> None:
    books(100)
    complete()
    books(1)
    cases.add("0001_require", RequireBackfill(FILL))
    with pytest.raises(BackfillError, match="is completed, and 1 row is left to do"):
        cases.migrate()


@pytest.mark.usefixtures("shelf")
def test_require_refuses_what_was_never_started(cases: Cases) -> None:
    books(100)
    cases.add("0001_require", RequireBackfill(FILL))
    with pytest.raises(BackfillError, match="was never started, and 100 rows are left to do"):
        cases.migrate()


@pytest.mark.usefixtures("shelf")
@pytest.mark.parametrize("atomic", [True, False])
def test_finish_runs_the_rest_in_place(cases: Cases, atomic: bool) -> None:
    books(2500)
    execute("UPDATE shelf_book SET sort_title = lower(title), times_filled = 1 WHERE id <= 1000")
    cases.add("0001_start", StartBackfill(FILL), RequireBackfill(FILL, finish=True), atomic=atomic)
    cases.migrate()
    assert (status().state, counters()) == ("completed", {1: 2500})


@pytest.mark.usefixtures("shelf")
def test_finish_leaves_the_timeouts_of_the_migration_alone(cases: Cases) -> None:
    books(100)
    execute("CREATE TABLE cases_setting AS SELECT ''::text AS value WHERE false")
    cases.add(
        "0001_start",
        migrations.RunSQL("SET LOCAL lock_timeout = '7s'"),
        RequireBackfill(FILL, finish=True),
        migrations.RunSQL("INSERT INTO cases_setting SELECT current_setting('lock_timeout')"),
    )
    cases.migrate()
    assert execute("SELECT value FROM cases_setting") == [("7s",)]


@pytest.mark.usefixtures("shelf")
def test_finish_after_rows_at_fault_says_which(cases: Cases) -> None:
    books(100)
    execute("UPDATE shelf_book SET title = repeat('x', 60) WHERE id = 7")
    cases.add("0001_require", RequireBackfill(PATH + "Broken", finish=True), atomic=False)
    with pytest.raises(BackfillError, match=r"is failed \(1 row can't be done; the first, 7: "):
        cases.migrate()
    assert counters() == {0: 1, 1: 99}


def test_without_the_app_it_is_refused(cases: Cases) -> None:
    cases.add("0001_start", StartBackfill("shop.backfills.FillSearchText"))
    with pytest.raises((ImproperlyConfigured, BackfillLookupError)):
        cases.migrate()


@pytest.mark.usefixtures("shelf")
def test_without_its_tables_it_says_which_dependency_is_missing(cases: Cases) -> None:
    execute("ALTER TABLE confiture_backfills_backfillrun RENAME TO elsewhere")
    cases.add("0001_start", StartBackfill(FILL))
    try:
        with pytest.raises(ImproperlyConfigured, match=r'add \("confiture_backfills", "0001_init'):
            cases.migrate()
    finally:
        execute("ALTER TABLE elsewhere RENAME TO confiture_backfills_backfillrun")


class KeepsAway:
    """A router."""

    def allow_migrate(self, db: str, app_label: str, **hints: Any) -> bool | None:
        return False if hints.get("model_name") == "book" else None


@pytest.mark.usefixtures("shelf")
def test_routers_are_asked(cases: Cases, settings: Any) -> None:
    from django_confiture.backfills.models import BackfillRun

    settings.DATABASE_ROUTERS = [f"{__name__}.KeepsAway"]
    books(1)
    cases.add("0001_start", StartBackfill(FILL), RequireBackfill(FILL))
    cases.migrate()
    assert not BackfillRun.objects.exists()


@pytest.mark.usefixtures("shelf")
def test_a_path_that_leads_nowhere_names_a_close_one(cases: Cases) -> None:
    wrong: Operation = StartBackfill(PATH + "FillSortTitel")
    cases.add("0001_start", wrong)
    with pytest.raises(BackfillLookupError, match=f"did you mean '{FILL}'"):
        cases.migrate()


@pytest.mark.usefixtures("shelf")
def test_finish_goes_on_with_what_was_paused(cases: Cases) -> None:
    from django_confiture.backfills import control

    books(30)
    control.prepare(FILL, using="default", actor="the test")
    control.act("pause", FILL, using="default", actor="the test")
    cases.add("0001_require", RequireBackfill(FILL, finish=True))
    cases.migrate()
    assert (status().state, counters()) == ("completed", {1: 30})


@pytest.mark.usefixtures("shelf")
def test_the_refusal_does_not_count_a_large_table_to_its_end(
    cases: Cases, monkeypatch: pytest.MonkeyPatch
) -> None:
    from django_confiture.backfills import in_migrations

    monkeypatch.setattr(in_migrations, "MOST_COUNTED", 1000)
    books(1234)
    cases.add("0001_require", RequireBackfill(FILL))
    with pytest.raises(BackfillError, match="and more than 1,000 rows are left to do"):
        cases.migrate()


@pytest.mark.usefixtures("shelf")
def test_on_another_database_system_nothing_is_started() -> None:
    from django_confiture.backfills.models import BackfillRun

    other: Any = DatabaseWrapper({**connection.settings_dict, "NAME": ":memory:"}, alias="other")
    state, editor = ProjectState(), other.SchemaEditorClass(other)
    StartBackfill(FILL).database_forwards("cases", editor, state, state)
    RequireBackfill(FILL).database_forwards("cases", editor, state, state)
    assert not BackfillRun.objects.exists()
