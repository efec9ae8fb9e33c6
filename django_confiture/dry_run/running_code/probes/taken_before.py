"""Whether the CHECKs of a schema that is gone would have taken a row.

Values made up for a new CHECK were never sent to the schema before: that the new one refuses them
says something only if the former did not.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import psycopg
from django.db import connections
from django.db.models import Model
from psycopg.pq import TransactionStatus

from django_confiture.dry_run.running_code.catalog.row_texts import quoted
from django_confiture.dry_run.running_code.catalog.table import Check
from django_confiture.dry_run.running_code.sending.connection import ProbeConnection


def taken_by(
    checks: Iterable[Check],
    types: Mapping[str, str],
    row: Model,
    connection: ProbeConnection,
) -> bool:
    """Return whether none of ``checks`` refuses a row; false where that can't be told.

    ``types`` are the columns' types by the time of the checks.
    """
    wanted = [each.expression for each in checks if each.expression]
    if not wanted:
        return True
    fields = {str(each.column): each for each in row._meta.concrete_fields}
    columns = fields.keys() & types.keys()
    using = connections[connection.alias]
    sent = [
        fields[name].get_db_prep_save(getattr(row, fields[name].attname), using) for name in columns
    ]
    given = ", ".join(f"%s::{types[name]} AS {quoted(name)}" for name in columns)
    refused = " OR ".join(f"({each}) IS FALSE" for each in wanted).replace("%", "%%")
    try:
        with connection.session.undone():
            text = connection.composed(f"SELECT {refused} FROM (SELECT {given}) row", sent)
            return connection.session.value(text) == "f"
    except psycopg.Error:
        if connection.session.status == TransactionStatus.UNKNOWN:
            raise
        return False
