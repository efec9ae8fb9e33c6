"""What is read through indexes: a scan where it comes to reading the table, else a lookup."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from django.db import connection
from pytest_django import DjangoDbBlocker as Blocker

from django_confiture.dry_run.results import Scan, StatementResult
from tests.support.clone import both_ways, source
from tests.support.dry_run import (
    clean_up,
    migration,
    passed,
    plain_connection,
    python,
    rehearse,
    runs,
)

__all__ = ["source"]

ORDERS, LINES = 5_000, 10_000

TABLES = f"""
    CREATE TABLE dry_order (id integer PRIMARY KEY, customer integer, note text);
    INSERT INTO dry_order SELECT i, i % 500, 'note ' || i FROM generate_series(1, {ORDERS}) i;
    CREATE INDEX dry_order_customer ON dry_order (customer);
    CREATE TABLE dry_line (
        id integer PRIMARY KEY,
        order_id integer NOT NULL REFERENCES dry_order
    );
    INSERT INTO dry_line SELECT i, 1 + i % {ORDERS} FROM generate_series(1, {LINES}) i;
    CREATE INDEX dry_line_order_id ON dry_line (order_id);
    CREATE TABLE dry_page (
        id integer PRIMARY KEY,
        line_id integer REFERENCES dry_line DEFERRABLE INITIALLY DEFERRED
    );
    INSERT INTO dry_page SELECT i, i FROM generate_series(1, 100) i;
    CREATE TABLE dry_log (number integer);
    INSERT INTO dry_log SELECT generate_series(1, {ORDERS});
    CREATE INDEX dry_log_number ON dry_log USING brin (number);
    ALTER TABLE dry_order SET (autovacuum_enabled = off);
    ALTER TABLE dry_line SET (autovacuum_enabled = off);
"""


@pytest.fixture(scope="module")
def tables(both_databases: None, django_db_blocker: Blocker) -> Iterator[None]:
    """Make the tables; a vacuum can't mark pages of a commit that is not on the disk yet."""
    with django_db_blocker.unblock():
        clean_up("default")
        with plain_connection() as plain:
            plain.execute("SET synchronous_commit = on")
            plain.execute(TABLES)
        yield
        connection.close()
        clean_up("default")


@pytest.fixture(autouse=True)
def _vacuumed(tables: None) -> Iterator[None]:
    """Undo what a dry run leaves: dead rows, their count, and pages that are not all visible."""
    with plain_connection() as plain:
        plain.execute("VACUUM ANALYZE dry_order, dry_line, dry_page, dry_log")
    with connection.cursor() as cursor:
        cursor.execute("SET jit = off")  # plans that are not allowed cost so much that it pays
    yield
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_stat_force_next_flush()")


def read(*statements: str, off: str = "", atomic: bool = True) -> dict[str, tuple[int, int]]:
    """Dry-run statements without full scans; return (rows, passes) of the last by relation."""
    plans = ("seqscan", *off.split())
    settings = [runs(f"SET enable_{plan} = off") for plan in plans]
    back = [runs(f"RESET enable_{plan}") for plan in plans]
    result = passed(*settings, *map(runs, statements), *back, atomic=atomic)
    (statement,) = result.operations[len(plans) + len(statements) - 1].statements
    return scans(statement)


def scans(statement: StatementResult) -> dict[str, tuple[int, int]]:
    return {scan.relation: (scan.rows or 0, scan.passes) for scan in statement.scans}


def statements_of(code: Callable[[], None]) -> dict[str, Scan]:
    """Dry-run Python without full scans; return the only scan of each statement that has one."""
    result = passed(runs("SET LOCAL enable_seqscan = off"), python(code))
    return {each.text: each.scans[0] for each in result.operations[1].statements if each.scans}


# What is a scan.


@pytest.mark.parametrize("atomic", [True, False], ids=["atomic", "non-atomic"])
def test_a_count_that_only_reads_the_index(atomic: bool) -> None:
    with plain_connection() as plain:
        plain.execute("SET enable_seqscan = off; SET enable_bitmapscan = off")
        lines = plain.execute("EXPLAIN (ANALYZE) SELECT count(*) FROM dry_order").fetchall()
    assert any("Heap Fetches: 0" in line for (line,) in lines)

    found = read("SELECT count(*) FROM dry_order", off="bitmapscan", atomic=atomic)

    assert found == {"dry_order": (ORDERS, 1)}


FEW = 5
"""Entries that the planner may read to learn where an index ends."""


@pytest.mark.parametrize(
    ("sql", "off", "expected"),
    [
        ("SELECT note FROM dry_order ORDER BY id", "sort", {"dry_order": (ORDERS, 1)}),
        (
            "SELECT id FROM dry_order WHERE customer >= 0",
            "bitmapscan",
            {"dry_order": (ORDERS, 1)},
        ),
        (
            "SELECT note FROM dry_order WHERE customer >= 0",
            "indexscan",
            {"dry_order": (ORDERS, 1)},
        ),
        # An index of blocks knows of no rows.
        ("SELECT number FROM dry_log WHERE number > 9", "", {"dry_log": (ORDERS, 1)}),
        ("SELECT note FROM dry_order WHERE id <= 600", "", {"dry_order": (600, 1)}),
        ("UPDATE dry_order SET note = '' WHERE id > 1000", "", {"dry_order": (4_000, 1)}),
        ("DELETE FROM dry_line WHERE order_id > 4000", "", {"dry_line": (2_000, 1)}),
        # The lines of each order: a descent for each order, and in the end all of the index.
        (
            "SELECT (SELECT count(*) FROM dry_line WHERE order_id = o.id) FROM dry_order o",
            "bitmapscan",
            {"dry_line": (LINES, 1), "dry_order": (ORDERS, 1)},
        ),
        # Each table by an index in order, then put together.
        (
            "SELECT o.note FROM dry_order o JOIN dry_line l ON l.order_id = o.id",
            "hashjoin nestloop sort bitmapscan",
            {"dry_line": (LINES, 1), "dry_order": (ORDERS, 1)},
        ),
        (
            "SELECT id FROM dry_order WHERE id > 0 UNION ALL SELECT id FROM dry_order WHERE id > 9",
            "bitmapscan",
            {"dry_order": (2 * ORDERS - 9, 2)},
        ),
        # It reads all keys, and looks each of them up for the foreign key.
        (
            "INSERT INTO dry_line SELECT id + 20000, id FROM dry_order",
            "bitmapscan",
            {"dry_order": (ORDERS, 1)},
        ),
        (
            "DO $$ BEGIN PERFORM note FROM dry_order ORDER BY id; END $$",
            "sort",
            {"dry_order": (ORDERS, 1)},
        ),
    ],
)
def test_much_of_a_table(sql: str, off: str, expected: dict[str, tuple[int, int]]) -> None:
    found = read(sql, off=off)

    assert found.keys() == expected.keys()
    for relation, (rows, passes) in expected.items():
        assert rows <= found[relation][0] <= rows + FEW
        assert found[relation][1] == passes


def test_ddl_that_reads_in_the_order_of_an_index() -> None:
    with plain_connection() as plain:
        plain.execute("CREATE TABLE dry_sorted AS SELECT id FROM dry_order ORDER BY id")
        plain.execute("CREATE INDEX dry_sorted_id ON dry_sorted (id)")
        plain.execute("VACUUM ANALYZE dry_sorted")
    foreign_key = "ALTER TABLE dry_sorted ADD FOREIGN KEY (id) REFERENCES dry_order"

    cluster = read("CLUSTER dry_order USING dry_order_customer", off="sort")
    checked = read(foreign_key, off="hashjoin nestloop sort bitmapscan")

    assert cluster == {"dry_order": (3 * ORDERS, 3)}  # the other two passes are for the indexes
    assert {name: passes for name, (_rows, passes) in checked.items()} == {
        "dry_sorted": 1,
        "dry_order": 1,
    }


def test_through_an_index_that_the_dry_run_has_made() -> None:
    found = read(
        "CREATE INDEX dry_new ON dry_order (note)",
        "SELECT note FROM dry_order ORDER BY note",
        off="sort",
    )

    assert found == {"dry_order": (ORDERS, 1)}


@pytest.mark.parametrize(("last", "is_scan"), [(9_000, False), (11_000, True)])
def test_rows_of_the_dry_run_itself(last: int, is_scan: bool) -> None:
    more = f"INSERT INTO dry_order SELECT i FROM generate_series({ORDERS + 1}, 100000) i"

    assert bool(read(more, f"SELECT note FROM dry_order WHERE id <= {last}")) is is_scan


@pytest.mark.parametrize(("last", "is_scan"), [(100, False), (4_000, True)])
def test_a_table_that_was_never_analyzed(last: int, is_scan: bool) -> None:
    with plain_connection() as plain:
        plain.execute("DROP TABLE IF EXISTS dry_unknown")
        plain.execute("CREATE TABLE dry_unknown (id integer PRIMARY KEY)")
        plain.execute("ALTER TABLE dry_unknown SET (autovacuum_enabled = off)")
        plain.execute("INSERT INTO dry_unknown SELECT generate_series(1, 5000)")

    found = read(f"SELECT id FROM dry_unknown WHERE id <= {last} ORDER BY id", off="sort")

    assert bool(found) is is_scan


# What is none.

UPDATE = "UPDATE dry_order SET customer = customer + 1"
"""Leaves a dead version of each row, which each lookup by its key passes."""

INSERT_AGAIN = "INSERT INTO dry_order SELECT i FROM generate_series(1, 5000) i"


@pytest.mark.parametrize("before", [(), (UPDATE,), (UPDATE, UPDATE)], ids=["", "updated", "twice"])
@pytest.mark.parametrize(
    ("sql", "off"),
    [
        ("SELECT note FROM dry_order WHERE id = 7", ""),
        ("SELECT note FROM dry_order WHERE id <= 100", ""),
        ("SELECT note FROM dry_order WHERE customer = 7", ""),
        ("SELECT note FROM dry_order ORDER BY id LIMIT 10", ""),
        ("SELECT max(id) FROM dry_order", ""),
        ("UPDATE dry_order SET note = '' WHERE id = 7", ""),
        ("DELETE FROM dry_page WHERE id = 7", ""),
        (
            "SELECT o.note FROM generate_series(1, 5000) i JOIN dry_order o ON o.id = i",
            "hashjoin mergejoin",
        ),
        ("INSERT INTO dry_line SELECT 20000 + i, i FROM generate_series(1, 5000) i", ""),
        ("INSERT INTO dry_line SELECT 20000 + i, 1 FROM generate_series(1, 5000) i", ""),
        (f"{INSERT_AGAIN} ON CONFLICT (id) DO NOTHING", ""),
        (f"{INSERT_AGAIN} ON CONFLICT (id) DO UPDATE SET note = ''", ""),
        ("TRUNCATE dry_page", ""),
        ("ALTER TABLE dry_order ADD added integer", ""),
    ],
)
def test_lookups(before: tuple[str, ...], sql: str, off: str) -> None:
    assert read(*before, sql, off=off) == {}


def test_many_runs_of_a_lookup() -> None:
    def code() -> None:
        with connection.cursor() as cursor:
            for number in range(1, 1001):
                cursor.execute("SELECT note FROM dry_order WHERE id = %s", [number])
                cursor.execute("UPDATE dry_order SET note = '' WHERE id = %s", [number])
            cursor.executemany("DELETE FROM dry_page WHERE id = %s", [(i,) for i in range(100)])

    assert statements_of(code) == {}


def test_many_runs_that_each_read_a_little() -> None:
    sql = "SELECT note FROM dry_order WHERE id BETWEEN %s AND %s"

    def code() -> None:
        with connection.cursor() as cursor:
            for first in range(1, ORDERS, 100):
                cursor.execute(sql, [first, first + 99])

    assert statements_of(code) == {}


def test_what_the_session_read_before_is_none_of_the_dry_runs() -> None:
    with connection.cursor() as cursor:
        cursor.execute("SET enable_seqscan = off; SET enable_sort = off")
        cursor.execute("SELECT note FROM dry_order ORDER BY id")
        cursor.execute("SET enable_bitmapscan = off; SELECT id FROM dry_order WHERE customer >= 0")
        cursor.execute("RESET enable_seqscan; RESET enable_sort; RESET enable_bitmapscan")

    result = passed(runs("SELECT note FROM dry_order WHERE id = 7"))

    assert result.operations[0].statements[0].scans == ()


# Which statement it was.

IN_ORDER = "SELECT note FROM dry_order ORDER BY id"
BY_KEY = "SELECT note FROM dry_order WHERE id = 7"


def test_of_several_that_read_each_has_its_own() -> None:
    def code() -> None:
        with connection.cursor() as cursor:
            cursor.execute("SET LOCAL enable_sort = off")
            cursor.execute(BY_KEY)
            cursor.execute(IN_ORDER)
            cursor.execute(BY_KEY)
            cursor.execute("SELECT id FROM dry_line ORDER BY order_id")
            cursor.execute(BY_KEY)

    assert statements_of(code) == {
        IN_ORDER: Scan("dry_order", ORDERS),
        "SELECT id FROM dry_line ORDER BY order_id": Scan("dry_line", LINES),
    }


def test_runs_that_are_not_measured_one_by_one_are_added_up() -> None:
    def code() -> None:
        with connection.cursor() as cursor:
            cursor.execute("SET LOCAL enable_sort = off")
            for _ in range(10):
                cursor.execute(IN_ORDER)

    assert statements_of(code) == {IN_ORDER: Scan("dry_order", 10 * ORDERS, passes=10)}


def test_batches_that_come_to_the_table_are_one_pass() -> None:
    sql = "SELECT note FROM dry_order WHERE id BETWEEN %s AND %s"

    def code() -> None:
        with connection.cursor() as cursor:
            for first in range(1, ORDERS, 1_000):
                cursor.execute(sql, [first, first + 999])

    scan = statements_of(code)[sql]
    assert ORDERS <= (scan.rows or 0) <= ORDERS + FEW
    assert scan.passes == 1


@pytest.mark.parametrize("sql", [IN_ORDER, "SELECT upper(note) FROM dry_order ORDER BY id"])
def test_a_cursor_of_the_server_reads_after_its_statement(sql: str) -> None:
    def code() -> None:
        with connection.cursor() as cursor:
            cursor.execute("SET LOCAL enable_sort = off")
            with connection.chunked_cursor() as chunked:
                chunked.execute(sql)
                assert len(chunked.fetchall()) == ORDERS
            cursor.execute("UPDATE dry_order SET note = '' WHERE id = 7")

    assert statements_of(code) == {sql: Scan("dry_order", ORDERS)}


def test_a_cursor_in_sql_reads_when_it_is_fetched_from() -> None:
    script = f"SET LOCAL enable_sort = off; DECLARE c CURSOR FOR {IN_ORDER}; FETCH ALL FROM c"

    assert statements_of(lambda: connection.connection.execute(script) and None) == {
        "FETCH ALL FROM c": Scan("dry_order", ORDERS)
    }


def test_what_a_commit_checks_is_not_read_by_the_next_statement() -> None:
    """No index leads to the pages of a line, so each deleted line has all of them read."""
    unused = migration(runs("DELETE FROM dry_line WHERE id > 9000"))
    plain = migration(runs("ALTER TABLE dry_page ADD added integer"), name="0002_plain")

    first, second = rehearse(unused, plain).migrations

    assert first.commit_ms > 0
    assert second.operations[0].statements[0].scans == ()


# On a clone, where each transaction starts to count at zero.


@pytest.mark.parametrize("atomic", [True, False], ids=["atomic", "non-atomic"])
def test_on_a_copy(source: str, atomic: bool) -> None:
    def code() -> None:
        with connection.cursor() as cursor:
            cursor.execute("SET jit = off; SET enable_seqscan = off; SET enable_sort = off")
            cursor.execute("SELECT name FROM dry_row ORDER BY id")
            for number in range(1, 101):
                cursor.execute("SELECT name FROM dry_row WHERE id = %s", [number])

    first = migration(python(code), atomic=atomic)
    second = migration(python(code), name="0002_again", atomic=atomic)

    for report in both_ways(first, second):
        for result in report.migrations:
            read = [each for each in result.operations[0].statements if each.scans]
            assert [(each.sql, each.scans) for each in read] == [
                ("SELECT name FROM dry_row ORDER BY id", (Scan("dry_row", 1000),))
            ]
