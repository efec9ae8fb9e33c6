"""The CHECK that DETACH PARTITION … CONCURRENTLY leaves on the partition; its plain form has none.

PostgreSQL adds it before it detaches, so that the partition still holds its own rows alone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from django_confiture.dry_run.sql.parsing.nodes import definition, quoted_relation, subcommands

if TYPE_CHECKING:
    from django_confiture.dry_run.server.side_channel import Session
    from django_confiture.dry_run.sql.parsing.parser import Statement

_MAY_HAVE_CHECK = (
    "DETACH … CONCURRENTLY leaves a CHECK of the partition's bounds unless its own constraint "
    "implies them; whether those it has do is not known here, so none was added."
)

_SEEN = """
SELECT pg_catalog.pg_get_partition_constraintdef(c.oid),
  EXISTS (SELECT FROM pg_catalog.pg_constraint k
          WHERE k.conrelid = c.oid AND k.contype = 'c' AND k.convalidated),
  EXISTS (SELECT FROM pg_catalog.pg_partitioned_table p JOIN pg_catalog.pg_inherits i
          ON i.inhparent = p.partrelid WHERE i.inhrelid = c.oid AND p.partstrat = 'h')
FROM pg_catalog.pg_class c WHERE c.oid = pg_catalog.to_regclass($1)
"""


def keep_check(statement: Statement, session: Session) -> str:
    """Add it where a partition is detached; return why that is not certain, ``""`` if it is.

    It is not validated, which would take a scan that PostgreSQL does without.
    """
    if statement.what != "alter_table_stmt":
        return ""
    unclear = ""
    for command in subcommands(statement.node.alter_table_stmt):
        partition = definition(command).partition_cmd
        if not partition.concurrent:
            continue
        name = quoted_relation(partition.name)
        for bounds, has_check, by_hash in session.query(_SEEN, [name]):
            if has_check == "t":
                unclear = _MAY_HAVE_CHECK
            elif bounds and by_hash == "f":
                session.query(f"ALTER TABLE {name} ADD CHECK ({bounds}) NOT VALID")
    return unclear
