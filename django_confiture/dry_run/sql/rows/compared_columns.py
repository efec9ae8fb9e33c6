"""The columns that a statement compares, sorts or computes with, beyond giving them back."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from django_confiture.dry_run.sql.parsing.library import pg, postgast
from django_confiture.dry_run.sql.parsing.nodes import Node, strings

if TYPE_CHECKING:
    from django_confiture.dry_run.sql.parsing.parser import Statement


EVERY_COLUMN = "*"
"""The name that stands for all columns, as in ``SELECT DISTINCT *``."""


def compared_columns(statement: Statement) -> frozenset[str]:
    """Return their names, without the tables'; those of a new unique index are compared too.

    So are those that are returned where equal rows become one: by DISTINCT, GROUP BY, or UNION.
    """
    node = statement.node
    if node is None:
        return frozenset()
    mentioned = Counter(_column_names(postgast.find_nodes(node, pg.ColumnRef)))
    if _merges_rows(node):
        stars = postgast.find_nodes(node, pg.A_Star)
        mentioned.update(EVERY_COLUMN for _star in stars)
    elif not _sorts_by_position(node):
        targets = postgast.find_nodes(node, pg.ResTarget)
        plain = (each.val.column_ref for each in targets if each.val.HasField("column_ref"))
        mentioned -= Counter(_column_names(plain))
    index = node.index_stmt
    keys = (each.index_elem.name for each in index.index_params) if index.unique else ()
    return frozenset([*mentioned, *keys])


def _column_names(references: Node) -> list[str]:
    return [name for each in references for name in strings(each.fields[-1:]) if name]


def _merges_rows(node: Node) -> bool:
    """Return whether equal rows become one."""
    return any(
        each.distinct_clause or each.group_clause or (each.op > pg.SETOP_NONE and not each.all)
        for each in postgast.find_nodes(node, pg.SelectStmt)
    )


def _sorts_by_position(node: Node) -> bool:
    """Return whether it sorts by a number, which stands for one of the columns that it returns."""
    return any(each.node.HasField("a_const") for each in postgast.find_nodes(node, pg.SortBy))
