"""What the code of a module defines, changes, and does for its effect alone."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator, Sequence
from collections.abc import Set as AbstractSet

_DEFINITIONS = ast.AsyncFunctionDef | ast.ClassDef | ast.FunctionDef
_IMPORTS = ast.Import | ast.ImportFrom
_REGISTERS = ("receiver", "register")
"""What the names of decorators begin with that tell others of what they decorate."""


def effects_of(
    around: Sequence[ast.stmt], own: AbstractSet[str], used: AbstractSet[str]
) -> Iterator[int]:
    """Yield the indexes of the statements that are there for what they do to other modules.

    ``own`` are the names that the file itself defines. An import is one if the file uses none of
    its names, unless it is Django's or the standard library's, which do nothing by themselves.
    """
    for number, each in enumerate(around):
        if isinstance(each, _IMPORTS):
            names = defined_by(each)
            if "*" in names or (names and not names & used and not _does_nothing(each)):
                yield number
        elif changed_by(each) - own or _registers(each):
            yield number


def changed_by(node: ast.stmt) -> set[str]:
    """Return the names whose values a statement changes without giving them others.

    Those of a call are that of the object whose method it is, or that of the function.
    """
    found = set()
    for each in _executed(node):
        if isinstance(each, ast.Expr) and isinstance(each.value, ast.Call):
            found.add(_root(each.value.func))
        elif isinstance(each, ast.Assign | ast.AugAssign | ast.Delete):
            targets = [each.target] if isinstance(each, ast.AugAssign) else each.targets
            found |= {_root(e) for e in targets if isinstance(e, ast.Attribute | ast.Subscript)}
    return found


def defined_by(node: ast.stmt) -> set[str]:
    """Return the names that a statement of a module gives it."""
    if isinstance(node, _IMPORTS):
        if of_the_future(node):
            return set()
        return {import_name(each) for each in node.names}
    if isinstance(node, _DEFINITIONS):
        return {node.name}
    found = {
        each.id
        for each in ast.walk(node)
        if isinstance(each, ast.Name) and isinstance(each.ctx, ast.Store)
    }
    for each in ast.walk(node):
        if isinstance(each, _IMPORTS):
            found |= {import_name(alias) for alias in each.names}
        elif isinstance(each, ast.FunctionDef | ast.ClassDef):
            found.add(each.name)
    return found


def names_in(node: ast.AST) -> set[str]:
    """Return the names that a piece of code reads."""
    return {each.id for each in ast.walk(node) if isinstance(each, ast.Name)}


def import_name(alias: ast.alias) -> str:
    """Return the name that an import gives a module."""
    return alias.asname or alias.name.partition(".")[0]


def of_the_future(node: ast.stmt) -> bool:
    """Return whether it imports from ``__future__``."""
    return isinstance(node, ast.ImportFrom) and node.module == "__future__"


def _executed(node: ast.AST) -> Iterator[ast.AST]:
    """Yield the statements that a module executes: not those of its functions."""
    if isinstance(node, _DEFINITIONS):
        return
    yield node
    for each in ast.iter_child_nodes(node):
        if isinstance(each, ast.stmt | ast.excepthandler):
            yield from _executed(each)


def _root(node: ast.expr) -> str:
    """Return the name that an attribute's or an item's chain begins with."""
    while isinstance(node, ast.Attribute | ast.Subscript | ast.Call):
        node = node.func if isinstance(node, ast.Call) else node.value
    return node.id if isinstance(node, ast.Name) else ""


def _registers(node: ast.stmt) -> bool:
    decorators = node.decorator_list if isinstance(node, _DEFINITIONS) else []
    calls = (each.func if isinstance(each, ast.Call) else each for each in decorators)
    return any(ast.unparse(each).rpartition(".")[2].startswith(_REGISTERS) for each in calls)


def _does_nothing(node: ast.Import | ast.ImportFrom) -> bool:
    modules = [e.name for e in node.names] if isinstance(node, ast.Import) else [node.module or ""]
    relative = isinstance(node, ast.ImportFrom) and node.level
    known = {"django", *sys.stdlib_module_names}
    return not relative and all(each.partition(".")[0] in known for each in modules)
