"""Tables without a row, though their files still have pages."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import TYPE_CHECKING

import psycopg

from django_confiture.dry_run.locks.modes import LockMode
from django_confiture.dry_run.sql.parsing.identifiers import quote_identifier

if TYPE_CHECKING:
    from django_confiture.dry_run.measuring.relations import Catalog, Relation
    from django_confiture.dry_run.server.side_channel import Session
    from django_confiture.dry_run.sql.parsing.parser import Statement

_SMALL = 1024 * 1024
"""A larger table counts as full: what is left of rows that are gone would be read to its end."""

# All rows, whatever a policy shows; and a lock that others hold is waited for by TRUNCATE itself.
_SETTINGS = "SET LOCAL row_security = off; SET LOCAL lock_timeout = '10ms'"


def found_empty(
    statement: Statement,
    predicted: Iterable[tuple[int, str]],
    catalog: Catalog,
    session: Session,
) -> Collection[int] | None:
    """Return which tables a TRUNCATE that is about to be sent finds without a row.

    Rows that were rolled back leave pages, those of an earlier dry run among them. None where
    nothing was asked; otherwise the search is in the session's counters.
    """
    if statement.what != "truncate_stmt":
        return None
    emptied = (oid for oid, mode in predicted if mode == LockMode.AccessExclusiveLock.name)
    tables = [each for oid in emptied if (each := catalog.relations.get(oid)) and each.kind == "r"]
    asked = [each for each in tables if 0 < each.size <= _SMALL]
    return without_rows(asked, session) if asked else None


def without_rows(tables: Sequence[Relation], session: Session) -> Collection[int]:
    """Return the OIDs of those tables that have no row; of large ones it says nothing."""
    asked = [each for each in tables if each.size <= _SMALL]
    if not asked:
        return ()
    questions = ", ".join(
        f"EXISTS (SELECT FROM ONLY {quote_identifier(each.schema)}.{quote_identifier(each.name)})"
        for each in asked
    )
    try:
        *_set, (answers,) = session.script_undone(f"{_SETTINGS}; SELECT {questions}")
    except psycopg.Error:
        return ()  # the role may not read them, or another session locks one
    return [each.oid for each, full in zip(asked, answers, strict=True) if full == "f"]
