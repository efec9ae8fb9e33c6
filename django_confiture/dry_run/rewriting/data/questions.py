"""What code asks before it changes rows: whether there are any, or how many."""

from __future__ import annotations

import ast
import copy
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

from django_confiture.dry_run.rewriting.data.updates import is_chain

_ASKING = {"count", "exists"}
_MANAGERS = {"objects", "_base_manager", "_default_manager"}
_SAME_ROWS = {
    "all", "defer", "iterator", "only", "order_by", "prefetch_related", "select_related", "values",
    "values_list",
}  # fmt: skip
"""The methods of a queryset that leave its rows as they are."""
_ROWS = {*_MANAGERS, *_SAME_ROWS, "exclude", "filter", "using"}
_ANY = {("Gt", 0), ("NotEq", 0), ("GtE", 1)}
_NONE = {("Eq", 0), ("Lt", 1), ("LtE", 0)}


@dataclass(frozen=True)
class Question:
    """A condition that is about rows alone."""

    rows: ast.expr | None
    """The queryset of which it asks whether it has rows; None where it asks for more."""
    is_none: bool = False
    """Whether it is true where there are none."""
    sends: bool = True
    """Whether it sends a statement of its own, rather than what going through the rows sends."""


def question(test: ast.expr) -> Question | None:
    """Return what a condition asks; None where it depends on more than rows."""
    if isinstance(test, ast.UnaryOp) and isinstance(test.op, ast.Not):
        found = question(test.operand)
        return found and Question(found.rows, not found.is_none, found.sends)
    if is_rows(test):
        return Question(test, sends=False)
    if (call := _asking(test)) is not None:
        return Question(call)
    if not isinstance(test, ast.Compare) or len(test.ops) != 1:
        return None
    (operator,), (bound,) = test.ops, test.comparators
    rows, length = _asking(test.left), _length(test.left)
    if not isinstance(bound, ast.Constant) or (rows is None and length is None):
        return None
    how = (type(operator).__name__, bound.value)
    known = (rows or length) if how in _ANY | _NONE else None
    return Question(known, how in _NONE, sends=length is None)


def is_rows(node: ast.expr, names: Collection[str] = ()) -> bool:
    """Return whether it is a queryset, or a manager; ``names`` stand for some."""
    if not is_chain(node, _ROWS):
        return False
    attributes = {each.attr for each in ast.walk(node) if isinstance(each, ast.Attribute)}
    return bool(attributes & _MANAGERS) or ast.unparse(node).partition(".")[0] in names


def names_of_rows(steps: Sequence[ast.stmt]) -> set[str]:
    """Return the names that statements give to querysets alone."""
    rows: set[str] = set()
    others: set[str] = set()
    for each in (node for step in steps for node in ast.walk(step)):
        if isinstance(each, ast.Assign):
            names = {ast.unparse(target) for target in each.targets}
            (rows if is_rows(each.value, rows) else others).update(names)
        elif isinstance(each, ast.AugAssign | ast.For | ast.NamedExpr):
            others.add(ast.unparse(each.target))
    return rows - others


def without_questions(step: ast.stmt, names: Collection[str]) -> tuple[ast.stmt, set[str]]:
    """Return a statement with numbers in place of what it asks, and the questions."""
    asked: set[str] = set()

    class Answered(ast.NodeTransformer):
        def visit_Call(self, node: ast.Call) -> ast.AST:
            if _asking(node, names) is None:
                return self.generic_visit(node)
            asked.add(ast.unparse(node))
            return ast.Constant(0)

    return Answered().visit(copy.deepcopy(step)), asked


def holds(rows: ast.expr, others: ast.expr) -> bool:
    """Return whether a queryset has all rows of another, by what that adds to it."""
    whole, part = [*_narrowed(rows)], [*_narrowed(others)]
    return part[: len(whole)] == whole


def _narrowed(node: ast.expr) -> Iterator[str]:
    """Yield what a queryset begins with, and each call that takes rows away."""
    inner = node.func if isinstance(node, ast.Call) else node
    if isinstance(inner, ast.Attribute) and inner.attr in _ROWS:
        yield from _narrowed(inner.value)
        if inner.attr not in _SAME_ROWS:
            given = [*node.args, *node.keywords] if isinstance(node, ast.Call) else []
            yield f"{inner.attr} {[ast.dump(each) for each in given]}"
    else:
        yield ast.unparse(node)


def _asking(node: ast.expr, names: Collection[str] = ()) -> ast.expr | None:
    """Return the queryset of a ``count()`` or an ``exists()``."""
    if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
        return None
    asks = node.func.attr in _ASKING and not (node.args or node.keywords)
    return node.func.value if asks and is_rows(node.func.value, names) else None


def _length(node: ast.expr) -> ast.expr | None:
    is_len = isinstance(node, ast.Call) and ast.unparse(node.func) == "len"
    if not is_len or not isinstance(node, ast.Call) or len(node.args) != 1:
        return None
    return node.args[0] if is_rows(node.args[0]) else None
