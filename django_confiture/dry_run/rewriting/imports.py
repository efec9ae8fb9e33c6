"""Sorts the imports of a file as isort and ruff do, so that a linter has nothing to say."""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from itertools import groupby, takewhile
from pathlib import Path
from typing import NamedTuple

_FUTURE, _STANDARD, _OTHERS, _PROJECT, _BESIDE = range(5)
_PACKAGES = {"site-packages", "dist-packages"}
_Natural = tuple[str | int, ...]
_Order = tuple[int, int, int, _Natural]


class _Imported(NamedTuple):
    """One name that is imported; one whole import where comments stand inside."""

    module: str
    """With the dots in front of a relative one."""
    name: str | None
    """None for ``import module``."""
    renamed: str | None
    written: str | None = None
    """The source, where it can't be taken apart."""

    @property
    def bound(self) -> tuple[str, str]:
        """Which name stands for what."""
        if self.name is not None:
            return self.renamed or self.name, f"{self.module}.{self.name}"
        top = self.module.partition(".")[0]
        return (self.renamed, self.module) if self.renamed else (top, top)

    @property
    def order(self) -> _Order:
        dots = len(self.module) - len(self.module.lstrip("."))
        return _section(self.module), int(self.name is not None), -dots, _natural(self.module)

    @property
    def member(self) -> tuple[int, _Natural, str]:
        """The place among the names of a module: constants, classes, others."""
        name = self.name or ""
        kind = 0 if name.isupper() and len(name) > 1 else 1 if name[:1].isupper() else 2
        return kind, _natural(name), self.renamed or ""

    @property
    def source(self) -> str:
        if self.written is not None:
            return self.written
        renamed = f" as {self.renamed}" if self.renamed else ""
        if self.name is None:
            return f"import {self.module}{renamed}"
        return f"from {self.module} import {self.name}{renamed}"


def with_sorted_imports(source: str) -> str:
    """Return a source with the imports at its top in order, each once.

    Where two of them give the same name to different things, the last one counts: they stay.
    Raises ``SyntaxError``.
    """
    body = ast.parse(source).body
    docstring = body[:1] if body and isinstance(body[0], ast.Expr) else []
    found = [*takewhile(_is_import, body[len(docstring) :])]
    imported = [*dict.fromkeys(each for node in found for each in _taken_apart(node, source))]
    if not found or len({*dict(_bound(imported)).items()}) < len({*_bound(imported)}):
        return source
    lines = source.splitlines(keepends=True)
    before = "".join(lines[: found[0].lineno - 1])
    behind = "".join(lines[found[-1].end_lineno :]).lstrip("\n")
    blank = _blank_lines(body[len(docstring) + len(found) :])
    return f"{before}{_written(imported)}{blank}{behind}"


def _blank_lines(rest: Sequence[ast.stmt]) -> str:
    """Return what stands between the imports and what comes next."""
    if not rest:
        return ""
    defines = isinstance(rest[0], ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
    return "\n\n" if defines else "\n"


def _is_import(node: ast.stmt) -> bool:
    return isinstance(node, ast.Import | ast.ImportFrom)


def _bound(imported: Sequence[_Imported]) -> Iterator[tuple[str, str]]:
    return (each.bound for each in imported)


def _taken_apart(node: ast.stmt, source: str) -> Iterator[_Imported]:
    assert isinstance(node, ast.Import | ast.ImportFrom)
    text = ast.get_source_segment(source, node) or ""
    for alias in node.names:
        if isinstance(node, ast.Import):
            yield _Imported(alias.name, None, alias.asname)
            continue
        module = "." * node.level + (node.module or "")
        if "#" in text:
            yield _Imported(module, alias.name, alias.asname, text)
            return
        yield _Imported(module, alias.name, alias.asname)


def _written(imported: Sequence[_Imported]) -> str:
    ordered = sorted(imported, key=lambda each: (each.order, each.member))
    sections = groupby(ordered, key=lambda each: each.order[0])
    return "\n".join("".join(_lines(list(section))) for _number, section in sections)


def _lines(section: Sequence[_Imported]) -> Iterator[str]:
    """Yield the imports of a section; names of one module that keep theirs share one."""
    done: set[str] = set()
    for each in section:
        if each.name is None or each.renamed or each.written is not None or each.name == "*":
            yield f"{each.source}\n"
        elif each.module not in done:
            done.add(each.module)
            together = [
                other.name
                for other in section
                if other.module == each.module
                and other.name not in (None, "*")
                and other.written is None
                and not other.renamed
            ]
            yield f"from {each.module} import {', '.join(filter(None, together))}\n"


def _natural(name: str) -> _Natural:
    """Return a name's place in an order where 10 comes after 9."""
    parts = re.split(r"(\d+)", name.lower())
    return tuple(int(each) if place % 2 else each for place, each in enumerate(parts))


def _section(module: str) -> int:
    if module.startswith("."):
        return _BESIDE
    top = module.partition(".")[0]
    if top == "__future__":
        return _FUTURE
    if top in sys.stdlib_module_names:
        return _STANDARD
    return _PROJECT if _is_of_the_project(top) else _OTHERS


def _is_of_the_project(top: str) -> bool:
    """Return whether a package is found elsewhere than among the installed ones."""
    try:
        spec = find_spec(top)
    except (ImportError, ValueError):
        return False
    places = [*(spec.submodule_search_locations or ()), spec.origin or ""] if spec else []
    paths = [Path(each) for each in places if each and each != "namespace"]
    return bool(paths) and not any(_PACKAGES & {*path.parts} for path in paths)
