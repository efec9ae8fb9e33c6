"""Columns of another type, of whose values PostgreSQL then knows nothing.

``ALTER COLUMN ... TYPE`` drops the planner's statistics of the column, also where no row is written
and no index is built, as for ``varchar(100)`` to ``varchar(200)``. Until the next ``ANALYZE``,
queries that it picked an index for by these values may go through another one, or through all rows.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from psycopg.pq import TransactionStatus

from django_confiture import conf
from django_confiture.dry_run.findings.subject import JudgedStatement
from django_confiture.dry_run.server.side_channel import array
from django_confiture.formatting import listed

if TYPE_CHECKING:
    from django_confiture.dry_run.measuring.relations import Relation
    from django_confiture.dry_run.server.side_channel import Session

# $1: OIDs of tables. Gives the columns that the planner has statistics of.
_KNOWN = """
SELECT c.oid, s.attname FROM pg_catalog.pg_class c
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
JOIN pg_catalog.pg_stats s ON s.schemaname = n.nspname AND s.tablename = c.relname
WHERE c.oid = ANY ($1::pg_catalog.oid[])
"""


def lost_statistics(
    session: Session, steps: Iterable[JudgedStatement], relations: Mapping[str, Relation]
) -> tuple[str, ...]:
    """Return what to say of the columns whose statistics are gone at the end of a migration.

    Nothing of tables that have none at all, and nothing where ``migrate`` analyzes by itself.
    """
    changed: defaultdict[str, dict[str, None]] = defaultdict(dict)
    for step in steps:
        for column, _type, _using in step.statement.type_changes:
            table = step.existing(step.node.relation)
            if table is not None and relations[table].size:
                changed[table][column] = None
    if not changed or conf.get("MIGRATE")["ANALYZE"]:
        return ()
    if session.status not in (TransactionStatus.INTRANS, TransactionStatus.IDLE):
        return ()
    known: defaultdict[str, set[str]] = defaultdict(set)
    for oid, name in session.query(_KNOWN, [array(relations[each].oid for each in changed)]):
        known[oid or ""].add(name or "")
    return tuple(
        f"PostgreSQL forgets what it knew of the values of {listed(tuple(lost))} of {table}, as "
        f"the type changes: until ANALYZE {table}, queries may get bad plans."
        for table, columns in changed.items()
        if (kept := known[str(relations[table].oid)])
        and (lost := [each for each in columns if each not in kept])
    )
