"""Which locks a statement takes, read from its text and the catalog.

``pg_locks`` shows a new lock only once: in a dry run, an earlier migration of the same transaction
mostly holds it already. So what the recorder measures is joined with what these rules say.

The rules are measured, on PostgreSQL 15 and 18: ``tests/dry_run/locks/test_rules.py`` runs each
statement and compares. They are meant to miss nothing from SHARE UPDATE EXCLUSIVE upwards; below,
they leave out what only the rows can tell (an INSERT's partition, sequences of defaults, tables in
rules).
"""

from django_confiture.dry_run.locks.catalog import Lookup, Query
from django_confiture.dry_run.locks.rules.base import Lock, strongest
from django_confiture.dry_run.locks.rules.dispatch import apply
from django_confiture.dry_run.sql.parsing.nodes import Node

__all__ = ["Lock", "Lookup", "Query", "statement_locks"]


def statement_locks(node: Node, lookup: Lookup) -> frozenset[Lock]:
    """Return the strongest lock on each relation that exists before the statement is run.

    ``node`` is a parsed statement. Call it before the statement runs: relations are looked up by
    name, and a dropped one is not found any more. Indexes and system catalogs are left out.
    CONCURRENTLY counts as the locks that it really takes, whatever a dry run sends in its place. A
    statement that only sets or shows something takes none.

    It costs one to three queries for most statements and eight at most, under 1 ms each: for
    statements that come in thousands, keep the answer by their text.
    """
    found = strongest(apply(node, lookup))
    return frozenset(Lock(oid, mode) for oid, mode in found.items())
