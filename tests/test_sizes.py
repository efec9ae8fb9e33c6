"""No module has more than 300 lines, and no function more than 40.

A module counts as it is. A function counts from ``def`` to its last line, its docstring and its
decorators left out; a function inside another one counts for both.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.paths import ROOT

MODULE_LINES = 300
FUNCTION_LINES = 40

MODULES = sorted((ROOT / "django_confiture").rglob("*.py"))


def functions(tree: ast.Module) -> Iterator[tuple[str, int]]:
    """Yield the name and the lines of each function."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            assert node.end_lineno is not None
            yield node.name, node.end_lineno - node.lineno + 1 - _docstring_lines(node)


def _docstring_lines(node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    first = node.body[0]
    if ast.get_docstring(node) is None or first.end_lineno is None:
        return 0
    return first.end_lineno - first.lineno + 1


@pytest.mark.parametrize("module", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_sizes(module: Path) -> None:
    text = module.read_text()

    assert len(text.splitlines()) <= MODULE_LINES
    long = {name: lines for name, lines in functions(ast.parse(text)) if lines > FUNCTION_LINES}
    assert not long


def test_what_counts() -> None:
    text = '''
@decorated
def one(
    argument: int,
) -> int:
    """Say what.

    In some words.
    """
    def inner() -> None:
        pass
    return argument
'''
    assert dict(functions(ast.parse(text))) == {"one": 6, "inner": 2}
