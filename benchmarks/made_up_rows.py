"""Made-up rows for every table of a database that takes them."""

from __future__ import annotations

from typing import Any

_TABLES = """
SELECT c.oid::regclass::text, c.oid FROM pg_class c
WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace
  AND relname !~ '^(django_(migrations|content_type|site)|auth_permission)'
  AND relname !~ '^wagtailcore_(locale|site|grouppage)'
ORDER BY c.oid
"""
_COLUMNS = """
SELECT quote_ident(attname), format_type(atttypid, NULL),
  CASE WHEN atttypmod > 4 THEN atttypmod - 4 END,
  (SELECT confrelid::regclass::text FROM pg_constraint
     WHERE conrelid = attrelid AND contype = 'f' AND conkey = ARRAY[attnum] LIMIT 1),
  (SELECT quote_ident(a.attname) FROM pg_constraint c JOIN pg_attribute a
     ON a.attrelid = confrelid AND a.attnum = confkey[1]
     WHERE c.conrelid = p.attrelid AND contype = 'f' AND conkey = ARRAY[p.attnum] LIMIT 1)
FROM pg_attribute p WHERE attrelid = %s AND attnum > 0 AND NOT attisdropped
  AND attidentity = '' AND NOT atthasdef AND attnotnull
"""
_NAMED = {
    # Places in a tree.
    "path": "'00010001' || upper(lpad(to_hex(i), 4, '0'))",
    "depth": "3",
    "numchild": "0",
    # What a field reads as more than text.
    "timezone": "'UTC'",
}
_VALUES = {
    "boolean": "i % 2 = 0",
    "character varying": "left(md5(i::text), {length})",
    "text": "md5(i::text)",
    "jsonb": "'{{}}'",
    "uuid": "md5(i::text)::uuid",
    "date": "now()",
    "timestamp with time zone": "now()",
    "time without time zone": "'12:00'",
    "interval": "'1 hour'",
    "inet": "'192.0.2.1'",
    "bytea": "'x'",
    "character varying[]": "'{{}}'",
    "text[]": "'{{}}'",
}


def fill(connection: Any, rows: int) -> tuple[int, int]:
    """Put so many rows into each table; return how many took them, and how many there are.

    A table whose constraints made-up rows don't meet stays as it is. Tables that refer to one that
    comes later are tried again when the others are filled. They get one row less than that one, so
    that each table has a row to which no other refers.
    """
    counts: dict[str, int] = {}
    with connection.cursor() as cursor:
        cursor.execute(_TABLES)
        tables = cursor.fetchall()
        left = tables
        while True:
            again = [each for each in left if not _insert(cursor, *each, rows, counts)]
            if len(again) == len(left):
                break
            left = again
        cursor.execute("ANALYZE")
    return len(tables) - len(left), len(tables)


def _insert(cursor: Any, table: str, oid: int, rows: int, counts: dict[str, int]) -> bool:
    from django.db import Error, transaction

    cursor.execute(_COLUMNS, [oid])
    columns = cursor.fetchall()
    referred = {name for *_rest, name, _column in columns if name in counts and name != table}
    rows = min([rows, *(counts[name] - 1 for name in referred)])
    names = ", ".join(name for name, *_rest in columns)
    values = ", ".join(_NAMED.get(name) or _value(*rest) for name, *rest in columns)
    one_each = f"SELECT {values or 1} FROM generate_series(1, {rows}) i"
    into = f"INSERT INTO {table} ({names}) " if names else f"INSERT INTO {table} "
    try:
        with transaction.atomic():
            cursor.execute(into + (one_each if names else "DEFAULT VALUES"))
            cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
    except Error:
        return False
    counts[table] = rows
    return True


def _value(kind: str, length: int | None, references: str | None, column: str | None) -> str:
    if references is not None:
        ids = f"SELECT {column} FROM {references} ORDER BY 1 LIMIT 5000"
        return f"(SELECT v[1 + i % cardinality(v)] FROM (SELECT ARRAY({ids})) a(v))"
    return _VALUES.get(kind, "i").format(length=length or 1000)
