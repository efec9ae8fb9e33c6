"""The source of a migration's function, and the lines that define what it needs of its module."""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections.abc import Iterator, Sequence
from types import FunctionType
from typing import Any

from django_confiture.dry_run.rewriting.data.imported import imports_of
from django_confiture.dry_run.rewriting.files import NoRecipe

_UNREADABLE = "the source of its code can't be read"
_SIMPLE = (bool, float, int, str)


def plain(function: object) -> FunctionType:
    """Return a function of a module; raises :class:`NoRecipe` for other code."""
    if not isinstance(function, FunctionType) or function.__closure__:
        raise NoRecipe("its code is not a plain function")
    return function


def source_of(function: FunctionType, arguments: int = 2) -> ast.FunctionDef:
    """Return the tree of a function's source."""
    try:
        (node,) = ast.parse(textwrap.dedent(inspect.getsource(function))).body
    except (OSError, SyntaxError, ValueError) as error:
        raise NoRecipe(_UNREADABLE) from error
    if not isinstance(node, ast.FunctionDef) or node.decorator_list:
        raise NoRecipe(_UNREADABLE)
    if len(node.args.args) != arguments:
        raise NoRecipe(_UNREADABLE)
    return node


def body_of(node: ast.FunctionDef) -> list[ast.stmt]:
    """Return what a function does, its docstring apart."""
    return node.body[ast.get_docstring(node) is not None :]


def head_of(node: ast.FunctionDef) -> str:
    """Return its first line; annotations would need their imports."""
    return f"def {node.name}({', '.join(each.arg for each in node.args.args)}):"


def names_in(nodes: Sequence[ast.AST]) -> list[ast.Name]:
    """Return all names in some nodes."""
    return [name for node in nodes for name in ast.walk(node) if isinstance(name, ast.Name)]


def definitions(
    node: ast.FunctionDef, function: FunctionType, helpers: frozenset[str] = frozenset()
) -> Iterator[str]:
    """Yield the source that defines each name of a function's module that its body uses.

    Of the module's own functions only ``helpers`` come along.
    """
    names = names_in(node.body)
    own = {each.id for each in names if isinstance(each.ctx, ast.Store)}
    own.update(each.arg for each in node.args.args)
    for name in sorted({each.id for each in names} - own):
        value = function.__globals__.get(name)
        if name in helpers and isinstance(value, FunctionType):
            helper_node = source_of(value, value.__code__.co_argcount)
            yield from definitions(helper_node, value, helpers - {name})
            yield f"\n\n{unparsed(helper_node)}\n"
        elif name in function.__globals__:
            yield from _definitions_of(name, function)


def constant(node: ast.expr, function: FunctionType) -> Any:
    """Return the value of a literal, or of a constant of the module; else raise ValueError."""
    if isinstance(node, ast.Name) and node.id in function.__globals__:
        value = function.__globals__[node.id]
        if _is_literal(value):
            return value
    return ast.literal_eval(node)


def unparsed(node: ast.FunctionDef) -> str:
    body = "".join(f"{textwrap.indent(ast.unparse(each), '    ')}\n" for each in node.body)
    return f"{head_of(node)}\n{body}".rstrip()


def _definitions_of(name: str, function: FunctionType) -> list[str]:
    if found := imports_of(name, function):
        return found
    value = function.__globals__[name]
    if _is_literal(value):
        return [f"{name} = {value!r}"]
    raise NoRecipe(f"its code needs {name}")


def _is_literal(value: Any) -> bool:
    if value is None or type(value) in _SIMPLE:
        return True
    if type(value) is dict:
        return all(map(_is_literal, (*value, *value.values())))
    return type(value) in (list, tuple) and all(map(_is_literal, value))
