"""Each way to send a statement is seen, is measured, and gives what it gives for real."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import psycopg
import pytest
from django.contrib.auth.models import Group
from django.db import connection, transaction
from psycopg import ClientCursor, RawCursor, ServerCursor, sql

from django_confiture.dry_run.results import StatementResult, Write
from django_confiture.dry_run.sql.parsing import nodes
from django_confiture.dry_run.sql.parsing.library import pg
from tests.support.dry_run import (
    for_real,
    migration,
    only_operation,
    passed,
    python,
    rehearse,
    runs,
    table,
)

UPDATE = "UPDATE dry_row SET number = 1 WHERE id <= 10"
UPDATE_ONE = "UPDATE dry_row SET number = %s WHERE id = %s"

Raw = psycopg.Connection[Any]


def statements(
    code: Callable[[Raw], object], *, atomic: bool = True
) -> tuple[StatementResult, ...]:
    operation = only_operation(python(lambda: code(connection.connection)), atomic=atomic)
    return operation.statements


def only(code: Callable[[Raw], object], *, atomic: bool = True) -> StatementResult:
    (statement,) = statements(code, atomic=atomic)
    return statement


def with_django(raw: Raw) -> None:
    with connection.cursor() as cursor:
        cursor.execute(UPDATE)
        assert cursor.rowcount == 10


def with_parameters(raw: Raw) -> None:
    with connection.cursor() as cursor:
        cursor.execute("UPDATE dry_row SET number = %s WHERE id <= %s", [1, 10])


def with_names(raw: Raw) -> None:
    raw.execute("UPDATE dry_row SET number = %(n)s WHERE id <= %(last)s", {"n": 1, "last": 10})


def with_the_connection(raw: Raw) -> None:
    assert raw.execute(UPDATE).statusmessage == "UPDATE 10"


def with_bytes(raw: Raw) -> None:
    raw.execute(UPDATE.encode())


def with_composed_sql(raw: Raw) -> None:
    raw.execute(
        sql.SQL("UPDATE {} SET number = 1 WHERE id <= {}").format(
            sql.Identifier("dry_row"), sql.Literal(10)
        )
    )


def with_a_client_cursor(raw: Raw) -> None:
    ClientCursor(raw).execute("UPDATE dry_row SET number = %s WHERE id <= 10", [1])


def with_a_raw_cursor(raw: Raw) -> None:
    RawCursor(raw).execute("UPDATE dry_row SET number = $1 WHERE id <= 10", [1])


def prepared(raw: Raw) -> None:
    raw.execute(UPDATE, prepare=True)


def in_a_transaction_of_the_driver(raw: Raw) -> None:
    with raw.transaction():
        raw.execute(UPDATE)


def with_executemany(raw: Raw) -> None:
    with connection.cursor() as cursor:
        cursor.executemany(UPDATE_ONE, [(1, i) for i in range(1, 11)])


def with_executemany_of_the_driver(raw: Raw) -> None:
    raw.cursor().executemany(UPDATE_ONE, [(1, i) for i in range(1, 11)])


def in_a_cte(raw: Raw) -> None:
    raw.execute(f"WITH changed AS ({UPDATE} RETURNING id) SELECT * FROM changed")


def with_merge(raw: Raw) -> None:
    raw.execute(
        "MERGE INTO dry_row r USING dry_parent p ON r.id = p.id"
        " WHEN MATCHED THEN UPDATE SET number = 1"
    )


@pytest.mark.parametrize("atomic", [True, False], ids=["atomic", "non-atomic"])
@pytest.mark.parametrize(
    "code",
    [
        with_django,
        with_parameters,
        with_names,
        with_the_connection,
        with_bytes,
        with_composed_sql,
        with_a_client_cursor,
        with_a_raw_cursor,
        prepared,
        in_a_transaction_of_the_driver,
        with_executemany,
        with_executemany_of_the_driver,
        in_a_cte,
        with_merge,
    ],
)
def test_an_update_is_seen_however_it_is_sent(
    untouched: None, code: Callable[[Raw], None], atomic: bool
) -> None:
    statement = only(code, atomic=atomic)

    assert "dry_row" in statement.text
    assert statement.executions == 1
    assert statement.rows_affected == 10
    assert statement.writes == (Write("dry_row", 0, 10, 0),)
    assert statement.wal_bytes is not None
    assert statement.wal_bytes > 0
    assert statement.duration_ms > 0


def test_the_text_is_that_of_the_code_without_the_parameters(untouched: None) -> None:
    def code(raw: Raw) -> None:
        with connection.cursor() as cursor:
            cursor.execute("UPDATE dry_row SET name = %s", ["Jane Doe"])
        Group.objects.create(name="Jane Doe")

    texts = [statement.sql for statement in statements(code)]

    assert texts[0] == "UPDATE dry_row SET name = %s"
    assert not any("Jane" in (text or "") for text in texts)


def test_a_cursor_that_was_opened_before_is_seen(untouched: None) -> None:
    connection.ensure_connection()
    with connection.connection.cursor() as earlier:
        statement = only(lambda _raw: earlier.execute(UPDATE))

    assert statement.rows_affected == 10


def test_the_orm_is_seen(untouched: None) -> None:
    def code(raw: Raw) -> None:
        Group.objects.bulk_create([Group(name=str(i)) for i in range(5)])
        Group.objects.filter(name="1").update(name="one")
        Group.objects.filter(name="2").delete()

    found = statements(code)

    assert [s.rows_affected for s in found if s.text.startswith("INSERT")] == [5]
    assert [s.rows_affected for s in found if s.text.startswith("UPDATE")] == [1]
    assert [s.rows_affected for s in found if s.text.startswith("DELETE")][-1] == 1


@pytest.mark.parametrize("atomic", [True, False], ids=["atomic", "non-atomic"])
def test_iterator_is_seen_and_reads_everything(untouched: None, atomic: bool) -> None:
    def code(raw: Raw) -> None:
        Group.objects.bulk_create([Group(name=str(i)) for i in range(5)])
        assert len(list(Group.objects.iterator(chunk_size=2))) == 5

    assert any(s.text.startswith("SELECT") for s in statements(code, atomic=atomic))


def closes_after_the_rollback() -> None:
    raw = connection.connection
    cursor = ServerCursor(raw, "named")
    with suppress(RuntimeError), transaction.atomic():
        cursor.execute("SELECT * FROM dry_row")
        raise RuntimeError
    cursor.close()


def test_a_cursor_is_gone_with_its_transaction(scratch: None) -> None:
    """As is one that an error leaves to the garbage collector."""
    plan = migration(python(closes_after_the_rollback), atomic=False)

    assert for_real(plan) == ""
    (result,) = rehearse(plan).migrations
    assert result.error is None


def test_a_server_side_cursor_is_seen(untouched: None) -> None:
    def code(raw: Raw) -> None:
        with ServerCursor(raw, "named") as cursor:
            cursor.execute("SELECT * FROM dry_row")
            assert len(cursor.fetchmany(7)) == 7
            assert len(list(cursor)) == 993

    statement = only(code)

    assert statement.sql == "SELECT * FROM dry_row"


def test_stream_is_seen(untouched: None) -> None:
    def code(raw: Raw) -> None:
        assert len(list(raw.cursor().stream("SELECT * FROM dry_row WHERE id > %s", [10]))) == 990

    assert only(code).sql == "SELECT * FROM dry_row WHERE id > %s"


def test_copy_in_is_seen(untouched: None) -> None:
    def code(raw: Raw) -> None:
        with raw.cursor().copy("COPY dry_row (id, name) FROM STDIN") as copy:
            for number in range(2000, 2010):
                copy.write_row([number, "copied"])

    statement = only(code)

    assert statement.rows_affected == 10
    assert statement.writes == (Write("dry_row", 10, 0, 0),)


def test_copy_out_gives_the_rows(untouched: None) -> None:
    def code(raw: Raw) -> None:
        with raw.cursor().copy("COPY dry_row TO STDOUT") as copy:
            assert len(list(copy.rows())) == 1000

    assert only(code).sql == "COPY dry_row TO STDOUT"


@pytest.mark.parametrize("atomic", [True, False], ids=["atomic", "non-atomic"])
def test_a_pipeline_is_seen(untouched: None, atomic: bool) -> None:
    def code(raw: Raw) -> None:
        with raw.pipeline():
            cursors = [raw.execute(UPDATE_ONE, [1, i]) for i in range(1, 11)]
        assert [cursor.rowcount for cursor in cursors] == [1] * 10

    statement = only(code, atomic=atomic)

    assert (statement.sql, statement.executions) == (UPDATE_ONE, 10)
    assert statement.writes == (Write("dry_row", 0, 10, 0),)


# Scripts.


def test_a_script_is_measured_one_statement_at_a_time(untouched: None) -> None:
    def code(raw: Raw) -> None:
        with connection.cursor() as cursor:
            cursor.execute("DELETE FROM dry_child WHERE id < 6; UPDATE dry_row SET number = 2;")

    first, second = statements(code)

    assert (first.sql, first.rows_affected) == ("DELETE FROM dry_child WHERE id < 6", 5)
    assert (second.sql, second.rows_affected) == ("UPDATE dry_row SET number = 2", 1000)


def test_the_parameters_of_a_script_go_to_their_statements(untouched: None) -> None:
    def code(raw: Raw) -> None:
        with connection.cursor() as cursor:
            cursor.execute(
                "UPDATE dry_row SET name = %s WHERE id = %s; SELECT 'a%%' LIKE 'a%%';"
                " UPDATE dry_row SET name = %s WHERE name LIKE 'name 10%%'",
                ["first", 1, "second"],
            )
            cursor.execute("SELECT count(*) FROM dry_row WHERE name = 'second'")
            assert cursor.fetchone() == (12,)
            cursor.execute("SELECT name FROM dry_row WHERE id = 1")
            assert cursor.fetchone() == ("first",)

    assert [s.rows_affected for s in statements(code)][:3] == [1, None, 12]


def test_named_parameters_are_those_of_every_statement(untouched: None) -> None:
    def code(raw: Raw) -> None:
        with connection.cursor() as cursor:
            cursor.execute(
                "UPDATE dry_row SET number = %(n)s WHERE id = 1;"
                " UPDATE dry_row SET number = %(n)s WHERE id <= 10",
                {"n": 7},
            )

    assert [s.rows_affected for s in statements(code)] == [1, 10]


def test_without_parameters_a_percent_sign_stays_one(untouched: None) -> None:
    def code(raw: Raw) -> None:
        with connection.cursor() as cursor:
            cursor.execute("UPDATE dry_row SET number = 0 WHERE name LIKE 'name 10%'")

    assert only(code).rows_affected == 12


@pytest.mark.parametrize(
    "script", ["SELECT 1; SELECT 2, 3; UPDATE dry_row SET number = 1", "", ";"]
)
def test_the_cursor_holds_the_results_of_a_script_as_for_real(scratch: None, script: str) -> None:
    seen: list[object] = []

    def code() -> None:
        with connection.cursor() as cursor:
            cursor.execute(script)
            while True:
                rows = cursor.fetchall() if cursor.description else None
                seen.append((rows, cursor.rowcount, cursor.statusmessage))
                if not cursor.nextset():
                    return

    only_operation(python(code))
    rehearsed = seen.copy()
    seen.clear()
    assert for_real(migration(python(code))) == ""

    assert rehearsed == seen


def test_a_cursor_that_takes_one_statement_refuses_two_as_for_real(scratch: None) -> None:
    def code() -> None:
        with pytest.raises(psycopg.errors.SyntaxError, match="multiple commands"):
            psycopg.Cursor(connection.connection).execute("SELECT %s; SELECT 2", [1])
        raise ValueError("seen")

    assert for_real(migration(python(code))) == "ValueError: seen"
    with pytest.raises(AssertionError, match="seen"):
        only_operation(python(code))


# Many of a kind.


def test_equal_texts_are_one_statement_with_a_count(untouched: None) -> None:
    def code(raw: Raw) -> None:
        for number in range(1, 101):
            raw.execute(UPDATE_ONE, [1, number])

    statement = only(code)

    assert (statement.sql, statement.executions) == (UPDATE_ONE, 100)
    assert statement.rows_affected == 100
    assert statement.writes == (Write("dry_row", 0, 100, 0),)


def test_ddl_is_never_folded(untouched: None) -> None:
    def code(raw: Raw) -> None:
        for _ in range(2):
            raw.execute("ALTER TABLE dry_row ALTER number SET NOT NULL")

    assert [s.executions for s in statements(code)] == [1, 1]


def test_savepoints_are_left_out(untouched: None) -> None:
    def code(raw: Raw) -> None:
        raw.execute("SAVEPOINT mine")
        raw.execute(UPDATE)
        raw.execute("ROLLBACK TO mine")

    assert [s.sql for s in statements(code)] == [UPDATE]


def test_what_is_not_probed_one_by_one_is_not_lost_at_the_end(untouched: None) -> None:
    """The rest of a loop belongs to its own statement, also where others come between."""

    def code(raw: Raw) -> None:
        for number in range(1, 51):
            raw.execute("UPDATE dry_row SET number = %s WHERE id = %s", [0, number])
            raw.execute("DELETE FROM dry_child WHERE id = %s", [number])

    update, delete = statements(code)

    assert (update.rows_affected, delete.rows_affected) == (50, 50)
    written = {w.relation: (w.updated, w.deleted) for s in (update, delete) for w in s.writes}
    totals = {
        name: (
            sum(w.updated for s in (update, delete) for w in s.writes if w.relation == name),
            sum(w.deleted for s in (update, delete) for w in s.writes if w.relation == name),
        )
        for name in written
    }
    assert totals == {"dry_row": (50, 0), "dry_child": (0, 50)}


def test_texts_that_differ_in_constants_alone_are_pooled_once_there_are_many(
    untouched: None,
) -> None:
    def body() -> None:
        with connection.cursor() as cursor:
            for i in range(1, 101):
                cursor.execute(f"UPDATE dry_row SET number = {i + 5000} WHERE id = {i + 1}")

    found = passed(python(body)).operations[0].statements

    assert [each.executions for each in found] == [*[1] * 20, 80]
    assert sum(each.rows_affected or 0 for each in found) == 100
    assert found[-1].sql == "UPDATE dry_row SET number = ... WHERE id = ..."
    (write,) = found[-1].writes
    assert (write.relation, write.updated) == ("dry_row", 80)


def test_a_few_texts_are_each_for_itself(untouched: None) -> None:
    script = "; ".join(f"UPDATE dry_row SET number = {i} WHERE id = {i + 5}" for i in range(7, 17))

    found = passed(runs(script)).operations[0].statements

    assert [each.sql for each in found] == script.split("; ")


def test_the_tree_of_ddl_is_walked_once_at_most(
    untouched: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    walked: Counter[str] = Counter()

    def counted(node: nodes.Node) -> Iterator[nodes.Node]:
        if isinstance(node, pg.Node):
            walked[nodes.node_field(node)] += 1
        return walk(node)

    walk = nodes.nodes_in
    monkeypatch.setattr(nodes, "nodes_in", counted)
    new = ["CREATE TABLE walked (id integer)"]
    texts = [f"ALTER TABLE dry_row ADD walked{number} integer" for number in range(3)]
    texts.append("CREATE INDEX dry_walked ON dry_row (walked0)")

    rehearse(migration(*(runs(text) for text in [*texts, *new])))

    assert walked["alter_table_stmt"] == 3
    assert walked["index_stmt"] == 1
    assert walked["create_stmt"] == 0  # nothing that was there is locked by it


def test_what_a_pipeline_does_is_put_down_to_the_kind_that_does_it(untouched: None) -> None:
    """And blocks from the moment at which it was sent: the server is asked at its end."""

    def code() -> None:
        raw = connection.connection
        with raw.pipeline():
            raw.execute("ALTER TABLE dry_row ALTER number TYPE bigint")
            raw.execute("UPDATE dry_child SET parent_id = 1")
            raw.execute("SELECT count(*) FROM dry_child")
            time.sleep(0.3)

    result = passed(python(code))

    alter, update, select = result.operations[0].statements
    assert (alter.rewrites, alter.writes) == (("dry_row",), ())
    assert [each.relation for each in update.writes] == ["dry_child"]
    assert (select.rewrites, select.writes) == ((), ())
    assert "type-change-rewrite" in {each.id for each in result.findings}
    assert table(result, "dry_row").writes_blocked_ms >= 300
