"""Questions about relations, answered by the names that statements may give them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from django_confiture.dry_run.server.side_channel import Session

SHOWN = """
  pg_catalog.concat(n.nspname, '.', c.relname), c.relname, pg_catalog.pg_table_is_visible(c.oid),
"""
WHERE = "n.nspname <> 'information_schema' AND n.nspname !~ '^pg_' AND "
AMONG = "($1::oid[] IS NULL OR {table} = ANY ($1::oid[]))"
"""Only what the tables in ``$1`` have, an array of OIDs; NULL for all tables."""
OF_CLASS = "JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace"


def rows_by_name(
    session: Session, sql: str, params: Sequence[str | None] = ()
) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Yield each row by its qualified name, and by the name alone where that finds it."""
    for qualified, name, visible, *rest in session.query(sql, params):
        values = tuple(str(each) for each in rest)
        yield str(qualified), values
        if visible in ("t", "true", True):
            yield str(name), values
