"""The columns that a statement compares, sorts or computes with, beyond giving them back."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from django_confiture.dry_run.sql.library import pg, postgast
from django_confiture.dry_run.sql.nodes import Node, strings

if TYPE_CHECKING:
    from django_confiture.dry_run.sql.parser import Statement


def compared_columns(statement: Statement) -> frozenset[str]:
    """Return their names, without the tables'; those of a new unique index are compared too."""
    node = statement.node
    if node is None:
        return frozenset()
    mentioned = Counter(_names(postgast.find_nodes(node, pg.ColumnRef)))
    if not _sorts_by_position(node):
        targets = postgast.find_nodes(node, pg.ResTarget)
        plain = (each.val.column_ref for each in targets if each.val.HasField("column_ref"))
        mentioned -= Counter(_names(plain))
    index = node.index_stmt
    keys = (each.index_elem.name for each in index.index_params) if index.unique else ()
    return frozenset([*mentioned, *keys])


def _names(references: Node) -> list[str]:
    return [name for each in references for name in strings(each.fields[-1:]) if name]


def _sorts_by_position(node: Node) -> bool:
    """Return whether it sorts by a number, which stands for one of the columns that it returns."""
    return any(each.node.HasField("a_const") for each in postgast.find_nodes(node, pg.SortBy))
