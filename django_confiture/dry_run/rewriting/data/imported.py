"""The imports by which a function's module has its names, as their authors wrote them."""

from __future__ import annotations

import ast
import inspect
import sys
from collections.abc import Iterator
from importlib.util import resolve_name
from types import FunctionType

_MISSING = object()


def imports_of(name: str, function: FunctionType) -> list[str]:
    """Return the imports that give a function's module a name; none where it is not imported.

    Relative ones are written out: what is imported from may stand beside a migration, but no
    import can name a migration itself.
    """
    value = function.__globals__[name]
    lines, _number = inspect.findsource(function)
    nodes = list(ast.walk(ast.parse("".join(lines))))
    for each in nodes:
        if isinstance(each, ast.ImportFrom):
            for found in _from(each, name, value, function):
                return [found]
    return list(dict.fromkeys(_whole(nodes, name, value))) or list(_by_its_module(name, function))


def _from(node: ast.ImportFrom, name: str, value: object, function: FunctionType) -> Iterator[str]:
    package = function.__globals__.get("__package__") or ""
    dotted = "." * node.level + (node.module or "")
    module = resolve_name(dotted, package) if node.level and package else dotted
    for alias in node.names:
        if (alias.asname or alias.name) == name and _has(module, alias.name, value):
            yield f"from {module} import {_written(alias)}"


def _whole(nodes: list[ast.AST], name: str, value: object) -> Iterator[str]:
    """Yield ``import a.b`` for each module whose first name, or other name, it is."""
    for node in nodes:
        for alias in node.names if isinstance(node, ast.Import) else ():
            bound = alias.name if alias.asname else alias.name.partition(".")[0]
            if (alias.asname or bound) == name and sys.modules.get(bound) is value:
                yield f"import {_written(alias)}"


def _by_its_module(name: str, function: FunctionType) -> Iterator[str]:
    """Yield the import of a class or function of another module, such as one from ``import *``."""
    value = function.__globals__[name]
    module = getattr(value, "__module__", None)
    if isinstance(module, str) and module != function.__module__ and _has(module, name, value):
        yield f"from {module} import {name}"


def _has(module: str, name: str, value: object) -> bool:
    """Return whether a module that an import can name has a value by a name."""
    nameable = all(each.isidentifier() for each in module.split("."))
    return nameable and getattr(sys.modules.get(module), name, _MISSING) is value


def _written(alias: ast.alias) -> str:
    return f"{alias.name} as {alias.asname}" if alias.asname else alias.name
