"""Views that have the old names of renamed tables and columns: made, replaced, ended."""

from __future__ import annotations

from collections.abc import Iterator

from django_confiture.dry_run.rewriting.files import RenamedTable
from django_confiture.dry_run.sql.parsing.identifiers import (
    qualified_name,
    quote_identifier,
    quote_literal,
)

Pair = tuple[str, str]
"""A statement, and the one that takes it back; either may be empty."""

_GRANTS = (
    "DO $$ DECLARE each record; BEGIN FOR each IN SELECT privilege_type, CASE grantee WHEN 0 "
    "THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(grantee)) END AS grantee FROM pg_class c, "
    "aclexplode(c.relacl) WHERE c.oid = {table}::regclass AND grantee <> relowner LOOP EXECUTE "
    "format('GRANT %s ON %s TO %s', each.privilege_type, {view}, each.grantee); END LOOP; END $$"
)
"""Grants the rights on the view to those that have them on the table."""


def view_made(table: RenamedTable) -> Iterator[Pair]:
    """Yield what makes a view; where only columns are renamed, it takes the table's name."""
    if table.after == table.before:
        yield _moved(table.schema, table.before, table.meanwhile)
    yield from _view(table)


def view_replaced(was: RenamedTable, now: RenamedTable) -> tuple[Pair, list[Pair]]:
    """Return what drops a view before more is renamed, and what makes it again then."""
    made, back = next(_view(was))
    return (back, made), list(_view(now))


def view_ended(table: RenamedTable) -> Iterator[Pair]:
    """Yield what ends a view, once no code runs that needs the old names."""
    *made, (grants, _nothing) = view_made(table)
    yield "", grants
    for sql, back in reversed(made):
        yield back, sql


def _view(table: RenamedTable) -> Iterator[Pair]:
    view = qualified_name(table.schema, table.before)
    meanwhile = qualified_name(table.schema, table.meanwhile)
    names = "".join(
        f", {quote_identifier(new)} AS {quote_identifier(old)}" for new, old in table.columns
    )
    yield f"CREATE VIEW {view} AS SELECT *{names} FROM {meanwhile}", f"DROP VIEW {view}"
    yield _GRANTS.format(table=quote_literal(meanwhile), view=quote_literal(view)), ""


def _moved(schema: str, before: str, after: str) -> Pair:
    return _renaming(schema, before, after), _renaming(schema, after, before)


def _renaming(schema: str, old: str, new: str) -> str:
    return f"ALTER TABLE {qualified_name(schema, old)} RENAME TO {quote_identifier(new)}"
