"""What code collects of other tables before it goes through rows: a dictionary, a list, a set."""

from __future__ import annotations

import ast

from django_confiture.dry_run.rewriting.data.turns import KEEPING, UNKNOWN
from django_confiture.dry_run.rewriting.data.updates import is_chain, is_lookup

_COLLECTING = {"dict", "frozenset", "list", "set", "tuple"}
_READS = {
    "all", "distinct", "exclude", "filter", "in_bulk", "iterator", "objects", "only", "order_by",
    "select_related", "using", "values", "values_list", "_base_manager", "_default_manager",
}  # fmt: skip


def collected_from(value: ast.expr) -> str | None:
    """Return the model that an assigned value collects rows of, as it is written; else None."""
    source = _source(value)
    if source is None or not is_chain(source, _READS):
        return None
    return None if any(map(_may_change_more, ast.walk(value))) else model_of(source)


def model_of(node: ast.expr) -> str:
    """Return the model that a queryset begins with, as it is written."""
    while isinstance(node, ast.Attribute | ast.Call) and not is_lookup(node):
        node = node.func if isinstance(node, ast.Call) else node.value
    return ast.unparse(node)


def _source(value: ast.expr) -> ast.expr | None:
    if isinstance(value, ast.DictComp | ast.ListComp | ast.SetComp):
        return value.generators[0].iter if len(value.generators) == 1 else None
    if not isinstance(value, ast.Call):
        return None
    if isinstance(value.func, ast.Attribute):
        return value if value.func.attr == "in_bulk" else None
    alone = len(value.args) == 1 and not value.keywords
    return value.args[0] if alone and ast.unparse(value.func) in _COLLECTING else None


def _may_change_more(node: ast.AST) -> bool:
    return isinstance(node, UNKNOWN) or (isinstance(node, ast.Attribute) and node.attr in KEEPING)
