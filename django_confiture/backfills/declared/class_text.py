"""A hash of what a backfill's class does, by its text: two releases may declare it differently."""

from __future__ import annotations

import ast
import hashlib
import inspect
from textwrap import dedent

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
        try:
            (found,) = ast.parse(dedent(inspect.getsource(each))).body
        except (OSError, TypeError, ValueError, SyntaxError):
            return ""
        digest.update(_essence(found).encode())
    return digest.hexdigest()


def _essence(found: ast.stmt) -> str:
    lines = [each for each in getattr(found, "body", ()) if not _is_aside(each)]
    for line in lines:
        inner = getattr(line, "body", None)
        if isinstance(inner, list) and len(inner) > 1 and _is_text(inner[0]):
            del inner[0]
    return "\n".join(ast.unparse(each) for each in lines)


def _is_aside(line: ast.stmt) -> bool:
    targets = line.targets if isinstance(line, ast.Assign) else [getattr(line, "target", None)]
    names = {each.id for each in targets if isinstance(each, ast.Name)}
    return _is_text(line) or bool(names & _SAYS_NOT_WHAT_IS_DONE)


def _is_text(line: ast.stmt) -> bool:
    return isinstance(line, ast.Expr) and isinstance(line.value, ast.Constant)
