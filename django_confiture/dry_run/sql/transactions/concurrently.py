"""What a statement's text doesn't tell: whether PostgreSQL refuses it, or commits within it.

CONCURRENTLY is refused where the plain form is not, and partitions are worked on one by one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from psycopg import errors

from django_confiture.dry_run.sql.parsing.enums import DropBehavior
from django_confiture.dry_run.sql.parsing.identifiers import qualified_name
from django_confiture.dry_run.sql.parsing.nodes import Node, strings

if TYPE_CHECKING:
    import psycopg

    from django_confiture.dry_run.server.side_channel import Session
    from django_confiture.dry_run.sql.parsing.parser import Statement

_SEEN = """
SELECT c.relkind, c.oid < 12000, COALESCE(i.indisexclusion, false),
  EXISTS (SELECT FROM pg_catalog.pg_partitioned_table p
          WHERE p.partrelid = c.oid AND p.partdefid <> 0),
  c.relpersistence = 't'
FROM pg_catalog.pg_class c LEFT JOIN pg_catalog.pg_index i ON i.indexrelid = c.oid
WHERE c.oid = pg_catalog.to_regclass($1)
"""


_OF_PARTITIONS = ("p", "I")


class _Target(NamedTuple):
    name: str
    kind: str
    of_the_system: bool
    of_an_exclusion: bool
    has_default: bool
    temporary: bool
    """Of what is, CONCURRENTLY means nothing; to create an index of partitions is refused."""


def refuse(statement: Statement, session: Session) -> None:
    """Raise what PostgreSQL says to ``statement`` as it is written, if it refuses that.

    The transaction has failed then, as it has after any error.
    """
    error = _refusal(statement, session)
    if error is not None:
        session.abort()
        raise error


def commits_by_partition(statement: Statement, session: Session) -> bool:
    """Return whether a statement commits after each partition, which a transaction can't hold."""
    if statement.what not in ("reindex_stmt", "cluster_stmt"):
        return False
    target = _target(getattr(statement.node, statement.what).relation, session)
    return target is not None and target.kind in _OF_PARTITIONS


def _refusal(statement: Statement, session: Session) -> psycopg.Error | None:
    if statement.what == "index_stmt":
        return _index(_target(statement.node.index_stmt.relation, session))
    if statement.what == "drop_stmt":
        return _drop(statement.node.drop_stmt, session)
    if statement.what == "reindex_stmt":
        return _reindex(_target(statement.node.reindex_stmt.relation, session))
    return _detach(_target(statement.node.alter_table_stmt.relation, session))


def _index(table: _Target | None) -> psycopg.Error | None:
    if table is None or table.kind != "p":
        return None
    return errors.FeatureNotSupported(
        f'cannot create index on partitioned table "{table.name}" concurrently'
    )


def _drop(node: Node, session: Session) -> psycopg.Error | None:
    refused = errors.FeatureNotSupported
    if len(node.objects) != 1:
        return refused("DROP INDEX CONCURRENTLY does not support dropping multiple objects")
    if node.behavior == DropBehavior.CASCADE:
        return refused("DROP INDEX CONCURRENTLY does not support CASCADE")
    index = _index_named(strings(node.objects[0].list.items)[-2:], session)
    if index is None or index.kind != "I" or index.temporary:
        return None
    return refused(f'cannot drop partitioned index "{index.name}" concurrently')


def _reindex(target: _Target | None) -> psycopg.Error | None:
    if target is None:
        return None
    if target.of_the_system:
        return errors.FeatureNotSupported("cannot reindex system catalogs concurrently")
    if target.of_an_exclusion and not target.temporary:
        return errors.FeatureNotSupported(
            "concurrent index creation for exclusion constraints is not supported"
        )
    if target.kind in _OF_PARTITIONS:  # each partition is for itself; so it is in the plain form
        return errors.ActiveSqlTransaction("REINDEX cannot run inside a transaction block")
    return None


def _detach(table: _Target | None) -> psycopg.Error | None:
    if table is None or not table.has_default:
        return None
    return errors.ObjectNotInPrerequisiteState(
        "cannot detach partitions concurrently when a default partition exists"
    )


def _target(range_var: Node, session: Session) -> _Target | None:
    return _index_named(
        [part for part in (range_var.schemaname, range_var.relname) if part], session
    )


def _index_named(parts: list[str], session: Session) -> _Target | None:
    if not parts:
        return None  # of the whole database
    rows = session.query(_SEEN, [qualified_name(*parts)])
    return next(
        (_Target(parts[-1], kind or "", *(each == "t" for each in flags)) for kind, *flags in rows),
        None,
    )
