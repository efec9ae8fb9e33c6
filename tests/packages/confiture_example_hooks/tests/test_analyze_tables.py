import os

import psycopg
import pytest
from confiture_example_hooks import AnalyzeTables

from django_confiture import HookContext, HookError, HookExecutor


@pytest.fixture
def conn():
    with psycopg.connect(os.environ["DATABASE_URL"]) as conn:
        yield conn
        conn.rollback()


def run(conn, **options):
    hook = AnalyzeTables()
    hook.options = options
    context = HookContext("0001_initial", "0001")
    return HookExecutor().execute_phase(conn, hook.phase, [hook], context)


def test_the_planner_knows_the_rows_afterwards(conn):
    conn.execute("CREATE TABLE fruit (name text)")
    conn.execute("INSERT INTO fruit VALUES ('apple'), ('pear')")
    (result,) = run(conn, tables=["fruit"])
    assert result.stats == {"analyzed": 1}
    (rows,) = conn.execute("SELECT reltuples FROM pg_class WHERE relname = 'fruit'").fetchone()
    assert rows == 2


def test_a_table_that_does_not_exist_is_an_error(conn):
    with pytest.raises(HookError, match='relation "nowhere" does not exist'):
        run(conn, tables=["nowhere"])


def test_without_tables_the_check_says_what_to_do():
    (error,) = AnalyzeTables().check()
    assert error.id == "confiture_example_hooks.E001"
