"""Values that are changed in place, such as ``row.data["key"] = ...``: which part of which column.

A part is called ``data['key']``; another key than a text may be any, so it stands for ``data``.
"""

from __future__ import annotations

import ast
import copy
from collections.abc import Collection, Iterator, Mapping, Sequence

from django_confiture.dry_run.rewriting.data.functions import names_in

_METHODS = {"pop": 2, "setdefault": 2, "update": 1}
"""The methods of a value that may run twice, as a statement with that many arguments."""


def part_of_target(target: ast.expr, row: str) -> str | None:
    """Return what an assignment to ``row.data["key"]`` changes; None for another target."""
    key: ast.expr | None = None
    while isinstance(target, ast.Subscript):
        key, target = target.slice, target.value
    if key is None or not _is_of(target, row):
        return None
    assert isinstance(target, ast.Attribute)
    return _part(target.attr, key)


def part_of_call(step: ast.stmt, row: str) -> str | None:
    """Return what a statement like ``row.data.setdefault("key", 1)`` changes; None for others."""
    call = step.value if isinstance(step, ast.Expr) else None
    method = call.func if isinstance(call, ast.Call) else None
    if not isinstance(call, ast.Call) or not isinstance(method, ast.Attribute):
        return None
    column = method.value
    if not _is_of(column, row) or _METHODS.get(method.attr) != len(call.args) or call.keywords:
        return None
    assert isinstance(column, ast.Attribute)
    return column.attr if method.attr == "update" else _part(column.attr, call.args[0])


def parts_read(column: ast.Attribute, parents: Mapping[int, ast.AST]) -> Iterator[str]:
    """Yield what an expression reads of ``row.data``: nothing where it is changed in place."""
    around = parents.get(id(column))
    if isinstance(around, ast.Subscript) and around.value is column:
        outermost: ast.AST = around
        while isinstance(above := parents.get(id(outermost)), ast.Subscript):
            if above.value is not outermost:
                break
            outermost = above
        assert isinstance(outermost, ast.Subscript)
        if isinstance(outermost.ctx, ast.Load):
            yield _part(column.attr, around.slice)
        return
    call = parents.get(id(around))
    if isinstance(around, ast.Attribute) and isinstance(call, ast.Call) and call.func is around:
        if around.attr in _METHODS and isinstance(parents.get(id(call)), ast.Expr):
            return
        if around.attr == "get" and call.args:
            yield _part(column.attr, call.args[0])
            return
    yield column.attr


def share_a_part(some: Collection[str], others: Collection[str]) -> bool:
    """Return whether a column, or a part of one, is among both."""
    return any(
        _column(one) == _column(other) and (one == other or not ("[" in one and "[" in other))
        for one in some
        for other in others
    )


def without_aliases(body: Sequence[ast.stmt], row: str) -> list[ast.stmt]:
    """Return statements with ``row.data`` in place of the names that are given to it."""
    known = _aliases(body, row)

    class Replaced(ast.NodeTransformer):
        def visit_Name(self, node: ast.Name) -> ast.expr:
            loaded = isinstance(node.ctx, ast.Load)
            return copy.deepcopy(known.get(node.id, node)) if loaded else node

        def visit_Assign(self, node: ast.Assign) -> ast.AST:
            self.generic_visit(node)
            (target, *more) = map(ast.unparse, node.targets)
            same = not more and (target in known or target == ast.unparse(node.value))
            return ast.Pass() if same else node

    return [Replaced().visit(copy.deepcopy(each)) for each in body]


def _aliases(body: Sequence[ast.stmt], row: str) -> dict[str, ast.expr]:
    """Return the names that stand for a value of the row from where they are set, to the end."""
    names = names_in(body)
    stored = [each.id for each in names if isinstance(each.ctx, ast.Store)]
    found: dict[str, ast.expr] = {}
    for index, step in enumerate(body):
        if not (isinstance(step, ast.Assign) and _is_of(step.value, row)):
            continue
        before = {each.id for each in names_in(body[:index])}
        for target in step.targets[:1] if len(step.targets) == 1 else ():
            is_new = isinstance(target, ast.Name) and target.id not in before
            if is_new and stored.count(ast.unparse(target)) == 1:
                found[ast.unparse(target)] = step.value
    return found


def _is_of(node: ast.expr, row: str) -> bool:
    return isinstance(node, ast.Attribute) and ast.unparse(node.value) == row


def _part(column: str, key: ast.expr) -> str:
    is_text = isinstance(key, ast.Constant) and isinstance(key.value, str)
    return f"{column}[{ast.unparse(key)}]" if is_text else column


def _column(part: str) -> str:
    return part.partition("[")[0].removesuffix("_id")
