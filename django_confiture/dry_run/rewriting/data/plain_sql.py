"""Code that does nothing but send SQL: ``cursor.execute("UPDATE ...")``, one after the other."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence
from types import FunctionType

from django_confiture.dry_run.rewriting.data.functions import body_of, constant

_CURSORS = ("connection.cursor()", ".connection.cursor()")


def sends_alone(node: ast.FunctionDef, function: FunctionType) -> bool:
    """Return whether a function sends constant texts, and does no more than that."""
    found = False
    for step in body_of(node):
        sent = [*_sent(step, node.args.args[1].arg)]
        if not sent and not _is_for_other_servers(step):
            return False
        if not all(_is_text(each, function) for each in sent):
            return False
        found = found or bool(sent)
    return found


def _sent(step: ast.stmt, editor: str) -> Iterator[ast.Call]:
    """Yield the calls that a statement consists of, if they send SQL."""
    if not isinstance(step, ast.With):
        yield from _calls([step], f"{editor}.execute")
        return
    (item, *more) = step.items
    cursor = item.optional_vars
    if not more and isinstance(cursor, ast.Name):
        text = ast.unparse(item.context_expr)
        if text == _CURSORS[0] or text.endswith(_CURSORS[1]):
            yield from _calls(step.body, f"{cursor.id}.execute")


def _calls(steps: Sequence[ast.stmt], method: str) -> list[ast.Call]:
    """Return the calls of a method that some statements are; none where one is another."""
    found = [e.value for e in steps if isinstance(e, ast.Expr) and isinstance(e.value, ast.Call)]
    same = len(found) == len(steps) and all(ast.unparse(e.func) == method for e in found)
    return found if same else []


def _is_text(call: ast.Call, function: FunctionType) -> bool:
    """Return whether it sends one constant text, without parameters."""
    try:
        return not call.keywords and [str] == [type(constant(e, function)) for e in call.args]
    except ValueError:
        return False


def _is_for_other_servers(step: ast.stmt) -> bool:
    """Return whether it ends the function where the server is not PostgreSQL."""
    if not isinstance(step, ast.If) or step.orelse or len(step.body) != 1:
        return False
    (then,) = step.body
    returns = isinstance(then, ast.Return) and then.value is None
    test = step.test
    if not isinstance(test, ast.Compare) or [type(e) for e in test.ops] != [ast.NotEq]:
        return False
    vendor = ast.unparse(test.left).endswith(".connection.vendor")
    return returns and vendor and ast.unparse(test.comparators[0]) == "'postgresql'"
