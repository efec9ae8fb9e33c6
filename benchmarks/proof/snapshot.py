"""The schema and the rows of a database as ``migrate`` leaves them, asked of PostgreSQL's catalogs.

Asked by the last receiver of ``post_migrate``, which a dry run calls as well, right before it rolls
everything back. Nothing of django_confiture takes part.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

_SCHEMA = """
WITH named AS (
  SELECT c.oid, c.relname, c.relkind FROM pg_class c
  JOIN pg_namespace n ON n.oid = relnamespace WHERE nspname = 'public'
)
SELECT format('column %s.%s %s %s %s %s %s', relname, attname, format_type(atttypid, atttypmod),
    CASE WHEN attnotnull THEN 'not null' END, attidentity::text || attgenerated::text,
    pg_get_expr(adbin, adrelid), NULLIF(attcollation, 100))
  FROM named JOIN pg_attribute ON attrelid = oid AND attnum > 0 AND NOT attisdropped
  LEFT JOIN pg_attrdef ON adrelid = attrelid AND adnum = attnum
UNION ALL
SELECT format('index %s %s', pg_get_indexdef(indexrelid), indisvalid)
  FROM pg_index JOIN named ON named.oid = indexrelid
UNION ALL
SELECT format('constraint %s.%s %s %s', relname, conname, pg_get_constraintdef(c.oid), convalidated)
  FROM pg_constraint c JOIN named ON named.oid = conrelid
UNION ALL
SELECT format('trigger %s', pg_get_triggerdef(t.oid))
  FROM pg_trigger t JOIN named ON named.oid = tgrelid WHERE NOT tgisinternal
UNION ALL
SELECT format('view %s %s', relname, pg_get_viewdef(oid)) FROM named WHERE relkind IN ('v', 'm')
UNION ALL
SELECT format('function %s', pg_get_functiondef(oid)) FROM pg_proc
  WHERE pronamespace = 'public'::regnamespace AND prokind IN ('f', 'p') AND NOT EXISTS (
    SELECT FROM pg_depend WHERE objid = pg_proc.oid AND deptype = 'e')
UNION ALL
SELECT format('sequence %s', relname) FROM named WHERE relkind = 'S'
ORDER BY 1
"""

_TABLES = """
SELECT relname, string_agg(quote_ident(attname), ', ' ORDER BY attnum) FILTER (
    WHERE format_type(atttypid, NULL) !~ '^(timestamp|uuid|time)' AND attidentity = ''
    AND NOT EXISTS (SELECT FROM pg_constraint
                    WHERE conrelid = attrelid AND contype = 'f' AND attnum = ANY (conkey))
    AND NOT EXISTS (SELECT FROM pg_attrdef WHERE adrelid = attrelid AND adnum = attnum
                    AND pg_get_expr(adbin, adrelid) ~ '^nextval'))
FROM pg_class JOIN pg_attribute ON attrelid = pg_class.oid AND attnum > 0 AND NOT attisdropped
WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace
GROUP BY relname ORDER BY relname
"""
"""Tables, and their columns but those that hold another value in each run."""


def take(connection: Any) -> dict[str, Any]:
    """Return the lines of the schema, and the number and a hash of the rows of each table."""
    with connection.cursor() as cursor:
        cursor.execute(_SCHEMA)
        schema = [line for (line,) in cursor.fetchall()]
        cursor.execute(_TABLES)
        rows = {}
        for table, columns in cursor.fetchall():
            cursor.execute(
                "SELECT count(*), coalesce(sum(hashtextextended(r::text, 0)), 0)::text "
                f'FROM (SELECT {columns or 1} FROM "{table}") r'
            )
            rows[table] = list(cursor.fetchone())
    return {"schema": schema, "rows": rows}


@contextmanager
def at_the_end() -> Iterator[dict[str, Any]]:
    """Take it at the end of the ``migrate`` inside; the dictionary is empty if it never came."""
    from django.apps import apps
    from django.db import connections
    from django.db.models.signals import post_migrate

    taken: dict[str, Any] = {}
    *_others, last = (each for each in apps.get_app_configs() if each.models_module is not None)

    def take_it(using: str, **_options: Any) -> None:
        taken.update(take(connections[using]))

    post_migrate.connect(take_it, sender=last, weak=False)
    try:
        yield taken
    finally:
        post_migrate.disconnect(take_it, sender=last)
