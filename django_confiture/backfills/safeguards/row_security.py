"""Whether row-level security hides rows: a backfill would leave them out without a word."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.db import connections

if TYPE_CHECKING:
    from django.apps.registry import Apps

    from django_confiture.backfills.declared.declaration import Backfill

_ACTIVE = """
SELECT pg_catalog.row_security_active(pg_catalog.to_regclass(%s)), current_user
"""


def why_rows_are_hidden(backfill: Backfill, *, using: str, apps: Apps) -> str:
    """Return why the role may not see every row of the table, with the fix; else ``""``."""
    connection = connections[using]
    table = backfill.model_in(apps)._meta.db_table
    with connection.cursor() as cursor:
        cursor.execute(_ACTIVE, [connection.ops.quote_name(table)])
        active, role = cursor.fetchone()
    if not active:
        return ""
    return (
        f"Row-level security may hide rows of {table} from {role}, and they would be left out: run "
        "the backfill as a role with BYPASSRLS, or as the table's owner unless its policies are "
        "forced on the owner."
    )
