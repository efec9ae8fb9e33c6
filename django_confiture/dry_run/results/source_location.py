"""The lines of a migration and of its operations, so that reports can point there."""

from __future__ import annotations

import ast
import os
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from django.db.migrations.migration import Migration
    from django.db.migrations.operations.base import Operation

Lines = tuple[int, int]
"""The first and the last line of an operation."""


@dataclass(frozen=True)
class Source:
    """A migration's file, its class in it, and the operations that are written there."""

    file: str | None = None
    line: int | None = None
    operations: Mapping[int, Lines] = field(default_factory=dict)
    """``id()`` of an operation → its lines."""

    def of(self, operation: Operation) -> tuple[int | None, int | None]:
        """Return the lines of an operation, or of the class if it is not written there."""
        return self.operations.get(id(operation), (self.line, self.line))


def locate(migration: Migration) -> Source:
    """Find a migration in its file; what is not found is None."""
    made = type(migration)
    module = sys.modules.get(made.__module__)
    if module is None or getattr(module, made.__name__, None) is not made:
        return Source()
    path = source_path(module)
    if path is None:
        return Source()
    file = shown(path)
    try:
        tree = ast.parse(path.read_bytes())
    except (OSError, SyntaxError, ValueError):
        return Source(file)
    written = _class(tree.body, made.__name__) or _class(ast.walk(tree), made.__name__)
    if written is None:
        return Source(file)
    own = made.operations if "operations" in vars(made) else ()
    lines = _aligned(list(_pieces(written.body)), own, module)
    places = {id(each): at for each, at in zip(own, lines, strict=True) if at is not None}
    return Source(file, written.lineno, places)


def _class(nodes: Iterable[ast.AST], name: str) -> ast.ClassDef | None:
    """Return the last definition of a class: the one that counts."""
    found = [each for each in nodes if isinstance(each, ast.ClassDef) and each.name == name]
    return found[-1] if found else None


def source_path(module: ModuleType) -> Path | None:
    """Return the file that a module was written in."""
    name = getattr(module, "__file__", None)
    return Path(name) if name and name.endswith(".py") else None


def shown(path: Path) -> str:
    """Return a path relative to the repository's root, or to the current directory."""
    path = Path(os.path.abspath(path))  # noqa: PTH100 - links stay as they are
    root = _repository(path.parent) or Path.cwd()
    return path.relative_to(root).as_posix() if path.is_relative_to(root) else path.as_posix()


@lru_cache
def _repository(directory: Path) -> Path | None:
    """Return the root of the repository that a directory is in, asked for each migration there."""
    around = (directory, *directory.parents)
    return next((each for each in around if (each / ".git").exists()), None)


@dataclass(frozen=True)
class _Piece:
    """A part of ``operations``: one operation, or an expression that makes some of them."""

    node: ast.expr | ast.stmt
    single: bool = False

    @property
    def lines(self) -> Lines:
        return self.node.lineno, self.node.end_lineno or self.node.lineno


def _pieces(body: Iterable[ast.stmt]) -> Iterator[_Piece]:
    """Yield what a class body puts into ``operations``, in order."""
    found: list[_Piece] = []
    for statement in body:
        match statement:
            case ast.Assign(targets=[*_, ast.Name("operations")], value=value):
                found = list(_listed(value, found))
            case ast.AnnAssign(target=ast.Name("operations"), value=ast.expr() as value):
                found = list(_listed(value))
            case ast.AugAssign(target=ast.Name("operations"), value=value):
                found += _listed(value)
            case ast.Expr(ast.Call(ast.Attribute(ast.Name("operations"), "append"), [value])):
                found.append(_Piece(value, single=True))
            case ast.Expr(ast.Call(ast.Attribute(ast.Name("operations"), "extend"), [value])):
                found += _listed(value)
            case ast.If() | ast.For() | ast.With() | ast.Try() | ast.While() | ast.Match():
                names = {n.id for n in ast.walk(statement) if isinstance(n, ast.Name)}
                found += [_Piece(statement)] if "operations" in names else []
    yield from found


def _listed(value: ast.expr, before: Sequence[_Piece] = ()) -> Iterator[_Piece]:
    match value:
        case ast.List(elements) | ast.Tuple(elements):
            for each in elements:
                if isinstance(each, ast.Starred):
                    yield from _listed(each.value, before)
                else:
                    yield _Piece(each, single=True)
        case ast.BinOp(left, ast.Add(), right):
            yield from _listed(left, before)
            yield from _listed(right, before)
        case ast.Name("operations"):
            yield from before
        case _:
            yield _Piece(value)


def _aligned(
    pieces: Sequence[_Piece], operations: Sequence[Operation], module: ModuleType
) -> list[Lines | None]:
    """Return the lines of each operation; None if the source doesn't tell which it is."""
    counts = [1 if piece.single else _count(piece.node, module) for piece in pieces]
    unknown = [position for position, count in enumerate(counts) if count is None]
    left = len(operations) - sum(count for count in counts if count is not None)
    if len(unknown) == 1:
        counts[unknown[0]] = left
    if left < 0 or (left and not unknown):
        return [None] * len(operations)
    if len(unknown) < 2:
        return _lines(pieces, counts)
    # Operations between two parts of unknown length can't be told apart.
    first, last = unknown[0], unknown[-1]
    before = _lines(pieces[:first], counts[:first])
    after = _lines(pieces[last + 1 :], counts[last + 1 :])
    return [*before, *[None] * (len(operations) - len(before) - len(after)), *after]


def _lines(pieces: Sequence[_Piece], counts: Sequence[int | None]) -> list[Lines | None]:
    return [
        piece.lines for piece, count in zip(pieces, counts, strict=True) for _ in range(count or 0)
    ]


def _count(node: ast.expr | ast.stmt, module: ModuleType) -> int | None:
    """Return how many operations an expression holds; None if only running the code tells."""
    if isinstance(node, ast.Name):
        value = getattr(module, node.id, None)
        return len(value) if isinstance(value, list | tuple) else None
    return None
