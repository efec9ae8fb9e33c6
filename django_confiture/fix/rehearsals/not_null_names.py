"""Reads the names of NOT NULL constraints, which PostgreSQL has since 18.

They are of no account to models, but a table that is still there may take the name that they had.
"""

from __future__ import annotations

from collections.abc import Mapping

from django_confiture.dry_run.server.side_channel import Session

_NAMES = """
SELECT c.relname, k.conname, pg_catalog.pg_get_constraintdef(k.oid)
FROM pg_catalog.pg_constraint k JOIN pg_catalog.pg_class c ON c.oid = k.conrelid
WHERE k.contype = 'n' AND c.oid >= 16384 AND c.relpersistence <> 't'
"""


def not_null_names(session: Session) -> Mapping[tuple[str, str, str], str]:
    """Return kind, table and name of each → its definition."""
    return {
        ("constraint", str(table), str(name)): str(definition)
        for table, name, definition in session.query(_NAMES)
    }
