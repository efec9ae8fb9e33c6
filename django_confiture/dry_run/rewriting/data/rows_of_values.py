"""The rows of ``values_list()`` and ``values()``, read as if they had attributes."""

from __future__ import annotations

import ast
import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from django_confiture.dry_run.rewriting.data.functions import names_in

_ROW = "row_of_the_loop"
_KEYS = ("pk", "id")


@dataclass(frozen=True)
class RowsOfLoop:
    """What a loop goes through, and its body as if each row was an object."""

    row: str
    """The row's name in ``body``."""
    body: Sequence[ast.stmt]
    key: str
    """What comes after a row to get its primary key."""


def rows_of_loop(loop: ast.For) -> RowsOfLoop | None:
    """Return the rows of a loop; None where they aren't known, or have no key."""
    method = _values(loop.iter)
    if method is None:
        row = ast.unparse(loop.target)
        return RowsOfLoop(row, loop.body, ".pk") if _is_name(loop.target) else None
    fields = [each.value if isinstance(each, ast.Constant) else "" for each in method.args]
    keys = [index for index, each in enumerate(fields) if each in _KEYS]
    options = [(each.arg, ast.unparse(each.value)) for each in method.keywords]
    if not keys or not all(isinstance(each, str) for each in fields):
        return None
    assert isinstance(method.func, ast.Attribute)
    if method.func.attr == "values":
        known = _is_name(loop.target) and not options
        return _of_dictionaries(loop, str(fields[keys[0]])) if known else None
    names = loop.target.elts if isinstance(loop.target, ast.Tuple) else [loop.target]
    flat = options == [("flat", "True")] and len(fields) == 1 and _is_name(loop.target)
    tuples = not options and isinstance(loop.target, ast.Tuple) and len(names) == len(fields)
    if not (flat or tuples) or not all(map(_is_name, names)):
        return None
    attributes = {ast.unparse(name): str(each) for name, each in zip(names, fields, strict=True)}
    return _of_tuples(loop, attributes, "" if flat else f"[{keys[0]}]")


def _values(node: ast.expr) -> ast.Call | None:
    """Return the call of ``values()`` or ``values_list()`` that the rows come from."""
    while isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
        if node.func.attr in ("values", "values_list"):
            return node
        node = node.func.value
    return None


def _is_name(node: ast.expr) -> bool:
    return isinstance(node, ast.Name)


def _attribute(name: str) -> ast.expr:
    return ast.Attribute(ast.Name(_ROW, ast.Load()), name, ast.Load())


def _of_tuples(loop: ast.For, attributes: Mapping[str, str], key: str) -> RowsOfLoop | None:
    stored = {each.id for each in names_in(loop.body) if isinstance(each.ctx, ast.Store)}

    class Named(ast.NodeTransformer):
        def visit_Name(self, node: ast.Name) -> ast.expr:
            return _attribute(attributes[node.id]) if node.id in attributes else node

    if stored & {*attributes}:
        return None
    body = [Named().visit(copy.deepcopy(each)) for each in loop.body]
    return RowsOfLoop(_ROW, body, key)


def _of_dictionaries(loop: ast.For, key: str) -> RowsOfLoop:
    name = ast.unparse(loop.target)

    class Keyed(ast.NodeTransformer):
        def visit_Subscript(self, node: ast.Subscript) -> ast.AST:
            of_row = _is_name(node.value) and ast.unparse(node.value) == name
            if of_row and isinstance(node.slice, ast.Constant) and isinstance(node.ctx, ast.Load):
                return _attribute(str(node.slice.value))
            return self.generic_visit(node)

        def visit_Name(self, node: ast.Name) -> ast.expr:
            return ast.Name(_ROW, node.ctx) if node.id == name else node

    body = [Keyed().visit(copy.deepcopy(each)) for each in loop.body]
    return RowsOfLoop(_ROW, body, f"[{key!r}]")
