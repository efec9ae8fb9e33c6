"""What the parser says of a text: its statements, their kinds, and what can be sent instead."""

from __future__ import annotations

import pytest

from django_confiture.dry_run.sql.parsing.parser import Kind, Statement, parse


def only(sql: str, *, placeholders: bool = False) -> Statement:
    (statement,) = parse(sql, placeholders=placeholders)
    return statement


@pytest.mark.parametrize(
    ("sql", "kind"),
    [
        ("ALTER TABLE t ADD c int", Kind.DDL),
        ("CREATE TABLE t AS SELECT 1", Kind.DDL),
        ("SELECT 1 INTO t", Kind.DDL),
        ("TRUNCATE t", Kind.DDL),
        ("LOCK TABLE t", Kind.DDL),
        ("INSERT INTO t VALUES (1)", Kind.DML),
        ("UPDATE t SET c = 1", Kind.DML),
        ("DELETE FROM t", Kind.DML),
        ("MERGE INTO t USING s ON t.i = s.i WHEN MATCHED THEN DELETE", Kind.DML),
        ("COPY t FROM STDIN", Kind.DML),
        ("WITH x AS (DELETE FROM t RETURNING *) SELECT * FROM x", Kind.DML),
        ("SELECT * FROM t", Kind.SELECT),
        ("VALUES (1)", Kind.SELECT),
        ("SELECT f(1)", Kind.OPAQUE),
        ("DO $$ BEGIN END $$", Kind.OPAQUE),
        ("CALL p()", Kind.OPAQUE),
        ("EXECUTE prepared", Kind.OPAQUE),
        ("EXPLAIN ANALYZE DELETE FROM t", Kind.OPAQUE),
        ("SET lock_timeout = 0", Kind.QUIET),
        ("SHOW lock_timeout", Kind.QUIET),
        ("SET CONSTRAINTS ALL DEFERRED", Kind.QUIET),
        ("FETCH 1 FROM c", Kind.QUIET),
        ("NOTIFY c", Kind.QUIET),
        ("SAVEPOINT s", Kind.SAVEPOINT),
        ("RELEASE s", Kind.SAVEPOINT),
        ("ROLLBACK TO s", Kind.SAVEPOINT),
        ("BEGIN", Kind.TRANSACTION),
        ("START TRANSACTION READ ONLY", Kind.TRANSACTION),
        ("COMMIT AND CHAIN", Kind.TRANSACTION),
        ("END", Kind.TRANSACTION),
        ("ABORT", Kind.TRANSACTION),
        ("PREPARE TRANSACTION 'x'", Kind.TRANSACTION),
        ("COMMIT PREPARED 'x'", Kind.DDL),
        ("DISCARD ALL", Kind.DDL),
        ("frobnicate", Kind.UNPARSED),
    ],
)
def test_kind(sql: str, kind: Kind) -> None:
    assert only(sql).kind is kind


@pytest.mark.parametrize(
    ("sql", "begins", "commits", "rolls_back"),
    [
        ("BEGIN", True, False, False),
        ("START TRANSACTION", True, False, False),
        ("COMMIT", False, True, False),
        ("END", False, True, False),
        ("PREPARE TRANSACTION 'x'", False, True, False),
        ("ROLLBACK", False, False, True),
        ("ABORT", False, False, True),
        ("ROLLBACK TO s", False, False, False),
        ("DISCARD ALL", False, False, False),
        ("SELECT 1", False, False, False),
    ],
)
def test_transaction_control(sql: str, begins: bool, commits: bool, rolls_back: bool) -> None:
    statement = only(sql)

    assert (statement.begins, statement.commits, statement.rolls_back) == (
        begins,
        commits,
        rolls_back,
    )


@pytest.mark.parametrize(
    ("script", "statements"),
    [
        ("", []),
        (" ; -- nothing\n;", []),
        ("SELECT 1", ["SELECT 1"]),
        ("SELECT 1;; SELECT ';';", ["SELECT 1", "SELECT ';'"]),
        ("SELECT 'é'; -- é\nSELECT 'ü'", ["SELECT 'é'", "SELECT 'ü'"]),
        ("DO $$ BEGIN; END $$; SELECT 1", ["DO $$ BEGIN; END $$", "SELECT 1"]),
        ("DO $a$ x; $$ y; $$ $a$;SELECT E'\\';'", ["DO $a$ x; $$ y; $$ $a$", "SELECT E'\\';'"]),
        (
            "CREATE FUNCTION f() RETURNS int BEGIN ATOMIC SELECT 1; SELECT 2; END; SELECT 3",
            ["CREATE FUNCTION f() RETURNS int BEGIN ATOMIC SELECT 1; SELECT 2; END", "SELECT 3"],
        ),
        ("SELECT 1; frobnicate; COMMIT", ["SELECT 1; frobnicate; COMMIT"]),
    ],
)
def test_split(script: str, statements: list[str]) -> None:
    assert [statement.sql for statement in parse(script, placeholders=False)] == statements


def test_what_is_nested_too_deeply_for_the_parser_is_split_all_the_same() -> None:
    deep = "SELECT " + " + ".join(["%s"] * 300)

    first, commit, last = parse(f"{deep}; COMMIT; UPDATE t SET a = %s", placeholders=True)

    assert (first.sql, first.kind, first.parameters) == (deep, Kind.UNPARSED, 300)
    assert commit.commits
    assert (last.sql, last.kind, last.parameters) == ("UPDATE t SET a = %s", Kind.DML, 1)
    assert only(deep, placeholders=True).kind is Kind.UNPARSED


@pytest.mark.parametrize(
    ("sql", "kind", "parameters"),
    [
        ("UPDATE t SET a = %s WHERE b LIKE 'x%%' AND c = %b", Kind.DML, 2),
        ("UPDATE t SET a = %(name)s, b = %(name)t", Kind.DML, 0),
        ("SELECT 5 %% %s", Kind.SELECT, 1),
        ("COMMENT ON TABLE t IS %s", Kind.DDL, 1),
        ("ALTER SEQUENCE s RESTART WITH %s", Kind.DDL, 1),
        ("SET search_path TO %s", Kind.QUIET, 1),
        ("DO %s", Kind.OPAQUE, 1),
        ("SELECT %(é)s, 'é'", Kind.SELECT, 0),
    ],
)
def test_placeholders(sql: str, kind: Kind, parameters: int) -> None:
    statement = only(sql, placeholders=True)

    assert (statement.sql, statement.kind, statement.parameters) == (sql, kind, parameters)


def test_without_parameters_a_percent_sign_is_no_placeholder() -> None:
    assert only("SELECT '%s' LIKE 'a%'").parameters == 0


def test_offsets_hold_behind_placeholders() -> None:
    script = "UPDATE t SET a = %(näme)s WHERE b LIKE 'é%%'; DELETE FROM t WHERE a = %s"

    assert [s.sql for s in parse(script, placeholders=True)] == script.split("; ")


@pytest.mark.parametrize(
    ("sql", "plain"),
    [
        ("CREATE INDEX CONCURRENTLY i ON t (a)", "CREATE INDEX i ON t (a)"),
        (
            "create index /* CONCURRENTLY */ concurrently i on t (a) where b = 'concurrently'",
            "create index /* CONCURRENTLY */ i on t (a) where b = 'concurrently'",
        ),
        ("DROP INDEX CONCURRENTLY IF EXISTS i", "DROP INDEX IF EXISTS i"),
        ("REINDEX TABLE CONCURRENTLY t", "REINDEX TABLE t"),
        ("REINDEX (CONCURRENTLY) TABLE t", "REINDEX TABLE t"),
        ("REINDEX (CONCURRENTLY, VERBOSE) TABLE t", "REINDEX ( VERBOSE) TABLE t"),
        ("REINDEX (VERBOSE, CONCURRENTLY) TABLE t", "REINDEX (VERBOSE ) TABLE t"),
        (
            "REINDEX (VERBOSE, CONCURRENTLY, TABLESPACE s) TABLE t",
            "REINDEX (VERBOSE , TABLESPACE s) TABLE t",
        ),
        ("ALTER TABLE t DETACH PARTITION p CONCURRENTLY", "ALTER TABLE t DETACH PARTITION p"),
        (
            "CREATE INDEX CONCURRENTLY i ON t (a) WHERE b = %s",
            "CREATE INDEX i ON t (a) WHERE b = %s",
        ),
    ],
)
def test_concurrently_has_a_plain_form(sql: str, plain: str) -> None:
    statement = only(sql, placeholders=True)

    assert statement.outside_transaction
    assert statement.plain_sql is not None
    assert " ".join(statement.plain_sql.split()) == plain


@pytest.mark.parametrize(
    "sql",
    [
        "VACUUM t",
        "VACUUM (ANALYZE)",
        "REINDEX DATABASE d",
        "REINDEX SCHEMA s",
        "REINDEX SCHEMA CONCURRENTLY s",
        "CLUSTER",
        "CREATE DATABASE d",
        "ALTER SYSTEM SET a = 1",
        "CREATE TABLESPACE s LOCATION '/s'",
        "ALTER DATABASE d SET TABLESPACE s",
    ],
)
def test_other_statements_have_none(sql: str) -> None:
    statement = only(sql)

    assert statement.outside_transaction
    assert statement.plain_sql is None


@pytest.mark.parametrize(
    "sql",
    [
        "ANALYZE t",
        "ALTER DATABASE d CONNECTION LIMIT 5",
        "CLUSTER t USING i",
        "REINDEX TABLE t",
        "CREATE INDEX concurrently_i ON t (a)",
    ],
)
def test_what_a_transaction_can_hold(sql: str) -> None:
    assert not only(sql).outside_transaction


@pytest.mark.parametrize(
    ("sql", "setting"),
    [
        ("SET LOCAL lock_timeout = '1s'", "lock_timeout"),
        ("SET LOCAL ROLE someone", "role"),
        ("SET LOCAL TIME ZONE 'UTC'", "timezone"),
        ("SET LOCAL my.setting TO DEFAULT", "my.setting"),
        ("SET lock_timeout = '1s'", ""),
        ("SET TRANSACTION READ ONLY", ""),
        ("SELECT 1", ""),
        ("frobnicate", ""),
    ],
)
def test_local_settings(sql: str, setting: str) -> None:
    assert only(sql).sets_locally == setting


@pytest.mark.parametrize(
    ("sql", "reads"),
    [
        ("SELECT * FROM t", True),
        ("SELECT * FROM s.t", True),
        ("SELECT * FROM a WHERE EXISTS (SELECT FROM pg_class)", True),
        ("SELECT 1", False),
        ("SELECT * FROM pg_class", False),
        ("SELECT * FROM pg_catalog.pg_class JOIN information_schema.tables ON true", False),
    ],
)
def test_whether_it_reads_tables_of_the_project(sql: str, reads: bool) -> None:
    assert only(sql).reads_user_tables is reads


@pytest.mark.parametrize(
    ("sql", "command"), [("  select 1", "SELECT"), ("/* a */ CALL p()", "CALL"), ("", "")]
)
def test_command(sql: str, command: str) -> None:
    statements = parse(sql, placeholders=False)
    assert (statements[0].command if statements else "") == command


@pytest.mark.parametrize(
    ("sql", "relations"),
    [
        ("SELECT 1 FROM a JOIN b ON true FOR UPDATE OF a, b SKIP LOCKED", ["a", "b"]),
        ("SELECT 1 FROM a AS x JOIN a AS y ON true FOR SHARE OF x", ["a", "a"]),
        ("WITH w AS (SELECT 1 FROM a FOR UPDATE OF a) SELECT 1 FROM b", ["b", "a"]),
    ],
)
def test_what_locks_rows_of_a_relation_does_not_name_it_once_more(
    sql: str, relations: list[str]
) -> None:
    (statement,) = parse(sql, placeholders=False)
    assert [each.relname for each in statement.relations] == relations
