"""Text that the parser can't read, or that has less in it than such text mostly has."""

from __future__ import annotations

import pytest

from django_confiture.dry_run.sql.parsing.parser import Kind, Statement, parse
from django_confiture.dry_run.sql.parsing.plpgsql import strings_in
from django_confiture.dry_run.sql.parsing.rewrite import without_concurrently
from django_confiture.dry_run.sql.rows.compared_columns import compared_columns
from django_confiture.dry_run.sql.rows.unsafe_functions import why_not_sent
from django_confiture.dry_run.sql.texts.shapes import table_elsewhere
from django_confiture.migrate.patient_statements import is_concurrent


def only(sql: str) -> Statement:
    (statement,) = parse(sql, placeholders=False)
    return statement


def test_functions_that_reach_beyond_the_transaction_are_found_in_any_text() -> None:
    unreadable = only("SELEC pg_switch_wal()")
    assert unreadable.kind is Kind.UNPARSED
    assert why_not_sent(unreadable).startswith("pg_switch_wal() takes effect beyond")
    assert why_not_sent(only("SELEC pg_backend_pid()")) == ""


def test_no_column_is_known_to_be_compared_in_unreadable_text() -> None:
    assert compared_columns(only("SELEC a FROM t WHERE b")) == frozenset()
    assert compared_columns(only("SELECT a FROM t WHERE b")) == {"b"}


@pytest.mark.parametrize(
    ("sql", "found"), [("SELECT 'a', 1, b", ["a"]), ("SELECT 'a", []), ("SELEC 'a'", [])]
)
def test_strings_of_a_statement(sql: str, found: list[str]) -> None:
    assert list(strings_in(sql)) == found


@pytest.mark.parametrize(
    ("sql", "commits"), [("CALL p()", True), ("SELECT p()", False), ("DO LANGUAGE c 'x'", True)]
)
def test_a_procedure_may_commit(sql: str, commits: bool) -> None:
    assert only(sql).may_commit is commits


@pytest.mark.parametrize(
    ("sql", "elsewhere"),
    [
        ("CREATE TABLE t (a int, b text)", "CREATE TABLE s.n (a int, b text)"),
        ("CREATE TABLE t (LIKE u)", ""),
        ("CREATE TABLE t (a int) INHERITS (u)", ""),
        ("CREATE TABLE t PARTITION OF u DEFAULT", ""),
        ("CREATE TABLE t OF kind", ""),
    ],
)
def test_a_table_whose_columns_are_written_elsewhere(sql: str, elsewhere: str) -> None:
    assert table_elsewhere(only(sql).node.create_stmt, "s", "n") == elsewhere


def test_a_statement_without_the_keyword_stays_as_it_is() -> None:
    plain = "CREATE INDEX concurrent ON t (a)"
    assert without_concurrently(plain) == plain
    assert without_concurrently("DROP INDEX CONCURRENTLY i").split() == ["DROP", "INDEX", "i"]


@pytest.mark.parametrize(
    ("sql", "concurrent"),
    [
        ("-- a\n/* b /* c */ */ CREATE INDEX CONCURRENTLY i ON t (a)", True),
        ("/* never closed CREATE INDEX CONCURRENTLY i ON t (a)", False),
        ("/* a /* b */ CREATE INDEX CONCURRENTLY i ON t (a)", False),
    ],
)
def test_comments_before_a_statement(sql: str, concurrent: bool) -> None:
    assert is_concurrent(sql) is concurrent
