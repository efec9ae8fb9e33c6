"""What is wrong around a backfill: its keys, its role, its class that is gone, a busy table."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from threading import Thread
from typing import Any

import psycopg
import pytest
from django.apps import apps
from django.core.management import call_command
from django.db import connection

from django_confiture.exceptions import BackfillError
from django_confiture.operations import RequireBackfill
from tests.cases.migrations_on_disk import Cases
from tests.support.backfills import PATH, books, counters, execute, shelf, wait_for
from tests.support.dry_run import plain_connection

__all__ = ["shelf"]  # a fixture

pytestmark = pytest.mark.usefixtures("shelf")


def run(name: str, workers: int = 1) -> str:
    """Run a backfill; return its state and its error."""
    from django_confiture.backfills.in_process import run_here
    from django_confiture.backfills.models import BackfillRun

    state = run_here(PATH + name, using="default", actor="the test", workers=workers)
    return f"{state.value} {BackfillRun.objects.get(name=PATH + name).last_error}".strip()


def test_process_that_changes_primary_keys_is_refused_before_a_row_is_written() -> None:
    execute("INSERT INTO shelf_book (id, title, times_filled) VALUES (7, 'A', 0), (8, 'B', 0)")
    assert run("ChangesKeys") == (
        "failed process() gave row 7 the primary key 8, so the package can't tell which row to "
        "write: leave the primary key alone, or leave `fields` out and write yourself."
    )
    assert execute("SELECT id, sort_title FROM shelf_book ORDER BY id") == [(7, None), (8, None)]


# Rows that the role can't see.


@pytest.fixture
def secured(shelf: None) -> Iterator[None]:
    """Become a role from which a policy hides every other book."""
    books(10)
    execute("CREATE ROLE shelf_reader")
    try:
        execute("GRANT ALL ON ALL TABLES IN SCHEMA public TO shelf_reader")
        execute("GRANT ALL ON ALL SEQUENCES IN SCHEMA public TO shelf_reader")
        execute("ALTER TABLE shelf_book ENABLE ROW LEVEL SECURITY")
        execute("CREATE POLICY shelf_even ON shelf_book USING (id %% 2 = 0)")
        execute("SET ROLE shelf_reader")
        yield
    finally:
        execute("RESET ROLE")
        execute("DROP OWNED BY shelf_reader")
        execute("DROP ROLE shelf_reader")


HIDDEN = (
    "Row-level security may hide rows of shelf_book from shelf_reader, and they would be left out: "
    "run the backfill as a role with BYPASSRLS, or as the table's owner unless its policies are "
    "forced on the owner."
)


@pytest.mark.usefixtures("secured")
def test_rows_that_row_level_security_hides_are_not_left_out() -> None:
    assert run("FillSortTitle") == f"failed {HIDDEN}"
    execute("RESET ROLE")
    assert counters() == {0: 10}
    call_command("confiture_backfills", "retry", PATH + "FillSortTitle", verbosity=0)
    assert run("FillSortTitle") == "completed"
    assert counters() == {1: 10}


@pytest.mark.usefixtures("secured")
@pytest.mark.parametrize("left", ["id %% 2 = 0", "false"])
def test_start_backfill_takes_no_table_for_empty_whose_rows_may_be_hidden(left: str) -> None:
    from django_confiture.backfills import in_migrations
    from django_confiture.backfills.models import BackfillRun

    execute("RESET ROLE")
    execute(f"ALTER POLICY shelf_even ON shelf_book USING ({left})")
    execute("SET ROLE shelf_reader")
    name = PATH + "FillSortTitle"
    with pytest.raises(BackfillError) as refused:
        in_migrations.start(name, connection, apps)
    assert str(refused.value) == f"Backfill {name} can't be started. {HIDDEN}"
    assert not BackfillRun.objects.exists()


@pytest.mark.usefixtures("secured")
def test_require_backfill_refuses_where_rows_may_be_hidden() -> None:
    from django_confiture.backfills import in_migrations

    execute("RESET ROLE")
    assert run("FillSortTitle") == "completed"
    execute("SET ROLE shelf_reader")
    with pytest.raises(BackfillError) as refused:
        in_migrations.require(PATH + "FillSortTitle", connection, apps, finish=False)
    assert str(refused.value) == f"Backfill {PATH}FillSortTitle can't be checked. {HIDDEN}"


# A class that is gone from the code.


@pytest.mark.parametrize("how", ["cancel", "forget"])
def test_a_backfill_whose_class_is_gone_ends_with_its_trigger(how: str) -> None:
    from django_confiture.backfills import control
    from django_confiture.backfills.declared.declaration import load_backfill
    from django_confiture.backfills.models import BackfillRun
    from django_confiture.backfills.safeguards import mirror

    books(10)
    prepared = control.prepare(PATH + "Mirrored", using="default", actor="the test")
    mirror.install(prepared, load_backfill(PATH + "Mirrored"), using="default")
    BackfillRun.objects.update(name="shop.backfills.Gone")
    if how == "cancel":
        said = control.act("cancel", "shop.backfills.Gone", using="default", actor="the test")
        assert said == "shop.backfills.Gone is cancelled."
    else:
        control.forget("shop.backfills.Gone", using="default", actor="the test")
    assert execute("SELECT tgname FROM pg_trigger WHERE NOT tgisinternal") == []
    assert execute("SELECT proname FROM pg_proc WHERE proname LIKE 'confiture%%'") == []
    assert BackfillRun.objects.get().state == "cancelled"


# Rows too large to be read by the thousand.


@pytest.mark.parametrize("way", ["ProcessSortTitle", "FillSortTitle"])
def test_process_gets_as_many_wide_rows_as_memory_may_take(
    monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    from django_confiture.backfills.models import BackfillRange
    from django_confiture.backfills.ranges import planning

    monkeypatch.setattr(planning, "MEMORY", 1_000_000)
    execute("ALTER TABLE shelf_book ADD cover bytea")
    execute("ALTER TABLE shelf_book ALTER cover SET STORAGE EXTERNAL")
    books(200)
    execute("UPDATE shelf_book SET cover = convert_to(repeat('x', 20000), 'UTF8')")
    execute("ANALYZE shelf_book")
    assert run(way) == "completed"
    assert counters() == {1: 200}
    size = BackfillRange.objects.get(done__gt=0).batch_size or 0
    assert size in range(40, 51) if way == "ProcessSortTitle" else size >= 200


# A busy table.


@contextmanager
def inserting(rows: int) -> Iterator[None]:
    """Insert rows on another connection, a thousand at a time, until there are so many."""

    def insert(other: psycopg.Connection[Any]) -> None:
        for number in range(rows // 1000):
            other.execute(
                "INSERT INTO shelf_book (title, times_filled)"
                " SELECT %s || i, 0 FROM generate_series(1, 1000) i",
                [f"Late {number} "],
            )

    with plain_connection() as other:
        thread = Thread(target=insert, args=(other,))
        thread.start()
        try:
            yield
        finally:
            thread.join()


def test_require_backfill_lets_through_what_has_taken_100_000_rows_inserted_meanwhile(
    cases: Cases,
) -> None:
    books(50_000)
    with inserting(100_000):
        wait_for(lambda: execute("SELECT count(*) > 60000 FROM shelf_book") == [(True,)])
        run("FillSortTitle", workers=2)
    cases.add("0001_require", RequireBackfill(PATH + "FillSortTitle"))
    ((left,),) = execute("SELECT count(*) FROM shelf_book WHERE sort_title IS NULL")
    if left:  # they came after the last look at them
        with pytest.raises(BackfillError, match=f"and {left:,} rows? (is|are) left to do"):
            cases.migrate()
        assert run("FillSortTitle", workers=2) == "completed"
    cases.migrate()
    assert cases.applied() == {"0001_require"}
    assert counters() == {1: 150_000}
