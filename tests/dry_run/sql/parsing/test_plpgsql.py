"""What is found in the code of a DO block, and what is not mistaken for it."""

from __future__ import annotations

import pytest

from django_confiture.dry_run.sql.parsing.parser import Statement, parse
from django_confiture.dry_run.sql.parsing.plpgsql import code_block
from django_confiture.dry_run.sql.rows.unsafe_functions import why_not_sent
from django_confiture.dry_run.sql.transactions.timeouts import sets_timeout


def do(body: str, declare: str = "") -> Statement:
    (statement,) = parse(f"DO $$ {declare} BEGIN {body} END $$", placeholders=False)
    return statement


@pytest.mark.parametrize(
    ("body", "commits"),
    [
        ("COMMIT;", True),
        ("IF true THEN ROLLBACK; END IF;", True),
        ("CALL p();", True),
        ("RAISE NOTICE 'COMMIT';", False),
        ("-- COMMIT\n UPDATE t SET a = 1;", False),
        ("PERFORM f('ROLLBACK');", False),
        ("INSERT INTO commit_log VALUES ('CALL');", False),
    ],
)
def test_may_commit(body: str, commits: bool) -> None:
    assert do(body).may_commit is commits


@pytest.mark.parametrize(
    ("body", "sets"),
    [
        ("SET LOCAL lock_timeout = '2s';", True),
        ("SET lock_timeout = 0;", False),
        ("PERFORM set_config('lock_timeout', '2s', true);", True),
        ("IF set_config('lock_timeout', '2s', true) = '' THEN NULL; END IF;", True),
        ("EXECUTE 'SET lock_timeout = ''2s''';", True),
        ("EXECUTE 'SET lock_timeout = 0';", False),
        ("RAISE NOTICE 'SET lock_timeout = 2';", False),
        ("-- SET lock_timeout = '2s'\n NULL;", False),
    ],
)
def test_sets_a_timeout(body: str, sets: bool) -> None:
    assert sets_timeout(do(body), "lock_timeout") is sets


@pytest.mark.parametrize(
    ("body", "name"),
    [
        ("PERFORM dblink_exec('x', 'DELETE FROM t');", "dblink_exec"),
        ("FOR r IN SELECT pg_reload_conf() LOOP NULL; END LOOP;", "pg_reload_conf"),
        ("EXECUTE 'SELECT pg_switch_wal()';", "pg_switch_wal"),
        ("q := 'SELECT pg_switch_wal()'; EXECUTE q;", "pg_switch_wal"),
        ("RAISE NOTICE 'dblink_exec is not called';", ""),
        ("-- PERFORM dblink_exec('x', 'y');\n NULL;", ""),
    ],
)
def test_calls_what_no_rollback_undoes(body: str, name: str) -> None:
    why = why_not_sent(do(body, "DECLARE r record; q text;"))

    assert why.partition("()")[0] == name


@pytest.mark.parametrize(
    "statement", ["DO LANGUAGE plpython3u $$ plpy.commit() $$", "DO $$ no code $$", "DO %s"]
)
def test_other_code_is_not_read(statement: str) -> None:
    assert code_block(statement) is None


def test_a_trigger_function_is_read() -> None:
    block = code_block(
        "CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS"
        " $$ BEGIN new.a := 1; PERFORM g(); RETURN new; END $$"
    )

    assert block is not None
    assert "SELECT g()" in block.sql
