"""UPDATEs that may run twice: PostgreSQL itself is asked for the same rows after the second."""

from __future__ import annotations

import pytest
from django.db import connection

from django_confiture.dry_run.sql.parsing.parser import parse
from django_confiture.dry_run.sql.rows.running_twice import can_run_twice

TEXTS = [
    "", " ", " a ", "A", "aB", "- A-b -", "--", "a  -", "-EUR", "EUR", "eur", "USD", "usd", "ß",
    "İI", "ΑΣ", "ǆ", "-1.5", " é-É ", "x" * 12, "b" + " " * 9 + "cd", None,
]  # fmt: skip
AGAIN = [
    "a = b",
    "a = lower(a)",
    "a = lower(a), b = 'x'",
    'a = UPPER(TRIM(BOTH FROM "t"."a"))',
    "a = trim(lower(rtrim(a)))",
    "a = pg_catalog.lower(a)",
    "a = COALESCE(a, '')",
    "a = lower(COALESCE(a, 'NONE'))",
    "a = REPLACE(a, '-', '')",
    "a = btrim(upper(replace(replace(a, '-'::text, ''), ' ', '')))",
    "a = NULLIF(btrim(a), '')",
    "a = left(a, 5)",
    "a = CASE WHEN a = 'EUR' THEN 'eur' WHEN t.a = 'USD'::text THEN 'usd' ELSE a END",
    "a = CASE WHEN a IN ('EUR', 'USD') THEN 'money' ELSE a END",
    "a = CASE WHEN a IN ('eur', 'Eur') THEN 'EUR' WHEN a = 'EUR' THEN 'EUR' ELSE a END",
]
ONCE = [
    "a = a || 'x'",
    "a = b, b = a",
    "a = lower(a), b = a",
    "a = b || lower(a)",
    "a = left(a, -1)",
    "a = left(ltrim(a), 3)",
    "a = right(btrim(a), 4)",
    "a = substr(a, 2)",
    "a = replace(a, 'ab', '')",
    "a = replace(a, '-', '--')",
    "a = lower(replace(a, 'a', ''))",
    "a = replace(btrim(a), '-', '')",
    "a = replace(a, b, '')",
    "a = lower(upper(a))",
    "a = btrim(a, 'x')",
    "a = ours.lower(a)",
    "a = COALESCE(lower(a), 'NONE')",
    "a = COALESCE(b, a)",
    "a = NULLIF(a, lower(a))",
    "a = NULLIF(a || 'x', '')",
    "a = md5(a)",
    "a = CASE WHEN a = 'EUR' THEN 'USD' WHEN a = 'USD' THEN 'EUR' ELSE a END",
    "a = CASE WHEN a = 'EUR' THEN 'Usd' WHEN a = 'USD' THEN 'GBP' ELSE a END",  # of type citext
    "a = CASE WHEN a = 'x' THEN 'y ' WHEN a = 'y' THEN 'z' ELSE a END",  # of type char(2)
    "a = CASE WHEN a = '1' THEN '02' WHEN a = '2' THEN '3' ELSE a END",  # of type integer
    "a = CASE WHEN a = 'x' THEN NULL ELSE a END",
    "a = CASE WHEN a < 'EUR' THEN 'x' ELSE a END",
    "a = CASE WHEN a IN ('x', b) THEN 'y' ELSE a END",
    "a = CASE WHEN a = 'x' THEN b ELSE a END",
    "a = CASE WHEN a = 'x' THEN 'y' ELSE lower(a) END",
    "a = CASE a WHEN 'x' THEN 'y' ELSE a END",
    "a = CASE WHEN lower(a) = 'x' THEN 'y' ELSE a END",
    "a = CASE WHEN a = 'x' OR b = 'y' THEN 'y' ELSE a END",
]


def _may(setting: str) -> bool:
    (statement,) = parse(f"UPDATE t SET {setting}", placeholders=False)
    return can_run_twice(statement.node.update_stmt)


@pytest.mark.django_db
@pytest.mark.parametrize("setting", AGAIN)
def test_the_rows_are_the_same_after_the_second_time(setting: str) -> None:
    assert _may(setting)
    with connection.cursor() as cursor:
        cursor.execute("CREATE TEMP TABLE t (a text, b text)")
        cursor.executemany("INSERT INTO t VALUES (%s, 'b')", [(each,) for each in TEXTS])
        found = []
        for _ in range(2):
            cursor.execute(f"UPDATE t SET {setting}")
            cursor.execute("SELECT a, b FROM t ORDER BY 1, 2")
            found.append(cursor.fetchall())
    assert found[0] == found[1]


@pytest.mark.parametrize("setting", ["n = abs(n)", "n = ROUND(n)", "n = floor(t.n)", "n = ceil(n)"])
def test_numbers(setting: str) -> None:
    assert _may(setting)


@pytest.mark.parametrize("setting", ["n = n + 1", "n = -n", "n = round(n * 2)"])
def test_sums(setting: str) -> None:
    assert not _may(setting)


@pytest.mark.parametrize("setting", ONCE)
def test_what_may_run_only_once(setting: str) -> None:
    assert not _may(setting)


DOCUMENTS = ["{}", '{"a": 1}', '{"a": {"b": 2, "c": 3}, "d": []}', '["a", "b", "a"]', None]


@pytest.mark.django_db
@pytest.mark.parametrize(
    "setting",
    [
        "j = j - 'a'",
        "j = (j - 'a'::text) - 'd'",
        "j = j #- '{a,b}'",
        "j = jsonb_set(j, '{e}', '[1]')",
        "j = jsonb_set(j - 'a', '{b}', '[1]'::jsonb, false)",
        "j = jsonb_set(j, '{a}', '{\"b\": 7}') #- '{a,b}' #- '{a,c}'",
        "j = jsonb_set(jsonb_set(j, '{a}', '1', false) - 'a', '{a}', '2', false)",
    ],
)
def test_documents_without_a_key_or_with_a_constant(setting: str) -> None:
    assert _may(setting)
    with connection.cursor() as cursor:
        cursor.execute("CREATE TEMP TABLE t (n serial, j jsonb)")
        paths = "{" in setting  # an array has none of texts
        objects = [each for each in DOCUMENTS if not (paths and (each or "").startswith("["))]
        cursor.executemany("INSERT INTO t (j) VALUES (%s)", [(each,) for each in objects])
        found = []
        for _ in range(2):
            cursor.execute(f"UPDATE t SET {setting}")
            cursor.execute("SELECT n, j::text FROM t ORDER BY n")
            found.append(cursor.fetchall())
    assert found[0] == found[1]


@pytest.mark.parametrize(
    "setting",
    [
        "j = j - 0",  # the first one of an array
        "j = j - '1'",  # of type integer
        "j = j - 'P1D'",  # of type interval
        "j = j - 'now'",  # of type time
        "j = j - k",
        "j = j || '[1]'",
        "j = j || '{\"a\": 1}'",  # a new element of an array
        "j = j #- '{0}'",
        "j = j #- '{a,0}'",
        "j = jsonb_set(j, '{5}', '1')",  # behind the end of an array
        "j = jsonb_set(j, '{a,b}', '1')",
        "j = jsonb_set(j, '{b}', j -> 'a')",
        "j = jsonb_set(j, '{b}', j)",
        "j = jsonb_set(j, '{b}', to_jsonb(random()))",
        "j = jsonb_insert(j, '{b}', '1')",
        "j = jsonb_set(j || '[1]', '{b}', '1')",
        "j = (j - 'a') || '[1]'",
        "j = (j::text)::jsonb - 'a'",
    ],
)
def test_other_documents_may_run_only_once(setting: str) -> None:
    assert not _may(setting)


def test_a_delete_may_run_twice() -> None:
    (statement,) = parse("DELETE FROM t WHERE a = lower(a)", placeholders=False)
    assert can_run_twice(statement.node.delete_stmt)
