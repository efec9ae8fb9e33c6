"""Does what Django and PostgreSQL leave until COMMIT: deferred SQL, deferred constraints."""

from __future__ import annotations

from contextlib import nullcontext
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from django.db.backends.base.base import BaseDatabaseWrapper
    from django.db.backends.base.schema import BaseDatabaseSchemaEditor

AROUND_DEFERRED = "_confiture_around_deferred"
"""Attribute of a schema editor: a context manager around each deferred statement."""

CHECK_CONSTRAINTS = "SET CONSTRAINTS ALL IMMEDIATE"
"""Checks what COMMIT would check."""

DEFER_CONSTRAINTS = "SET CONSTRAINTS ALL DEFERRED"

IMMEDIATE_CONSTRAINTS = """
SELECT string_agg(DISTINCT format('%I.%I', n.nspname, c.conname), ', ')
FROM pg_catalog.pg_constraint c
JOIN pg_catalog.pg_namespace n ON n.oid = c.connamespace
WHERE c.condeferrable AND NOT c.condeferred
  AND pg_catalog.has_schema_privilege(n.oid, 'USAGE')
  AND NOT pg_catalog.pg_is_other_temp_schema(n.oid)
"""
"""Names the deferrable constraints that are IMMEDIATE unless a transaction defers them.

Give the names to :func:`make_immediate`. Constraints in schemas that this role may not use are
not named: it can't write to their tables either.
"""


def make_immediate(names: str) -> str:
    """Return the statement that sets the constraints ``names`` back to IMMEDIATE."""
    return f"SET CONSTRAINTS {names} IMMEDIATE"


def check_deferred_constraints(connection: BaseDatabaseWrapper) -> None:
    """Check what PostgreSQL would check at COMMIT, then let constraints be deferred again."""
    with connection.cursor() as cursor:
        cursor.execute(f"{CHECK_CONSTRAINTS}; {DEFER_CONSTRAINTS}; {IMMEDIATE_CONSTRAINTS}")
        while cursor.nextset():
            pass
        (names,) = cursor.fetchone()
        if names:
            cursor.execute(make_immediate(names))


def flush_deferred_sql(schema_editor: BaseDatabaseSchemaEditor) -> None:
    """Run the deferred SQL now: foreign keys and indexes of new tables.

    Django runs it when the schema editor exits, which is too late for what must come after the DDL.
    """
    around = getattr(schema_editor, AROUND_DEFERRED, nullcontext)
    while schema_editor.deferred_sql:
        statement = schema_editor.deferred_sql.pop(0)
        with around(statement):
            schema_editor.execute(statement, None)
