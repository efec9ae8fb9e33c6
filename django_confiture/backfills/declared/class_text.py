"""A hash of what a backfill's class does, by its text: two releases may declare it differently.

What the class names counts, too: functions and constants of its module, by their text, and what
that module imports, if it is a number, a text or the like.
"""

from __future__ import annotations

import ast
import hashlib
import inspect
import sys
from collections.abc import Iterator, Sequence
from textwrap import dedent
from types import ModuleType

_PLAIN = (bool, bytes, float, int, str, type(None))
_SAYS_NOT_WHAT_IS_DONE = {"throttles", "on_row_error", "mirror"}
"""Attributes that may change while a backfill is under way."""


def text_hash(cls: type, below: type) -> str:
    """Return a hash of the text of ``cls`` and its bases; ``""`` where a text is not to be had.

    Comments, docstrings and layout don't count. ``below`` and its own bases are left out.
    """
    digest = hashlib.sha256()
    for each in cls.__mro__:
        if each in below.__mro__:
            continue
        module = sys.modules.get(each.__module__)
        if module is None:
            return ""
        try:
            (found,) = ast.parse(dedent(inspect.getsource(each))).body
            around = ast.parse(inspect.getsource(module)).body
        except (OSError, TypeError, ValueError, SyntaxError):
            return ""
        lines = _essence(found)
        texts = [*map(ast.unparse, lines), *_named(lines, around, module)]
        digest.update("\n".join(texts).encode())
    return digest.hexdigest()


def _essence(found: ast.stmt) -> list[ast.stmt]:
    lines = [each for each in getattr(found, "body", ()) if not _is_aside(each)]
    return [_without_docstring(each) for each in lines]


def _without_docstring(line: ast.stmt) -> ast.stmt:
    inner = getattr(line, "body", None)
    if isinstance(inner, list) and len(inner) > 1 and _is_text(inner[0]):
        del inner[0]
    return line


def _named(
    lines: Sequence[ast.AST], around: Sequence[ast.stmt], module: ModuleType
) -> Iterator[str]:
    """Yield what stands for the names in some lines: what the module makes of them, or imports."""
    made = {name: each for each in around for name in _names_made(each)}
    left: list[ast.AST] = [*lines]
    known: set[str] = set()
    while left:
        for each in ast.walk(left.pop(0)):
            text = ast.unparse(each) if isinstance(each, ast.Name | ast.Attribute) else ""
            if not text or text in known:
                continue
            known.add(text)
            if text in made:
                found = _without_docstring(made[text])
                yield ast.unparse(found)
                left.append(found)
            elif (value := _value(text, module)) is not None:
                yield f"{text} = {value!r}"


def _names_made(line: ast.stmt) -> Iterator[str]:
    """Yield the names of the functions and constants that a line of the module makes."""
    if isinstance(line, ast.FunctionDef):
        yield line.name
    elif isinstance(line, ast.Assign | ast.AnnAssign):
        targets = line.targets if isinstance(line, ast.Assign) else [line.target]
        yield from (each.id for each in targets if isinstance(each, ast.Name))


def _value(text: str, module: ModuleType) -> object:
    """Return the constant that a name, or a name of an imported module, stands for; or None."""
    found: object = module
    for name in text.split("."):
        if not isinstance(found, ModuleType):
            return None
        found = vars(found).get(name)
    return found if _is_constant(found) else None


def _is_constant(value: object) -> bool:
    if isinstance(value, tuple | list):
        return all(map(_is_constant, value))
    return type(value) in _PLAIN


def _is_aside(line: ast.stmt) -> bool:
    targets = line.targets if isinstance(line, ast.Assign) else [getattr(line, "target", None)]
    names = {each.id for each in targets if isinstance(each, ast.Name)}
    return _is_text(line) or bool(names & _SAYS_NOT_WHAT_IS_DONE)


def _is_text(line: ast.stmt) -> bool:
    return isinstance(line, ast.Expr) and isinstance(line.value, ast.Constant)
