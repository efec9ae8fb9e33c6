"""A migration file, taken apart: its operations as written, and the code around its class."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator, Sequence
from collections.abc import Set as AbstractSet
from copy import copy
from dataclasses import dataclass
from pathlib import Path

from django_confiture.fix.files.module_code import (
    changed_by,
    defined_by,
    effects_of,
    import_name,
    names_in,
    of_the_future,
)

_CLASS = "Migration"
_NEWLINE = "\n"
_DJANGOS = {"atomic", "dependencies", "operations", "replaces", "run_before"}
"""The attributes of the class that each file has its own of."""


@dataclass(frozen=True)
class WrittenFile:
    """The source of a migration, taken apart."""

    lines: Sequence[str]
    docstring: str | None
    around: Sequence[ast.stmt]
    """What stands around the class, the docstring apart."""
    operations: Sequence[ast.expr]
    """Empty where they are not written as one list."""
    attributes: Sequence[ast.stmt] = ()
    """What else its authors gave the class: attributes and functions."""
    beside: frozenset[str] = frozenset()
    """The names of the other migrations in its directory."""
    used: frozenset[str] = frozenset()
    """The names that all of its code reads."""

    def operation(self, index: int) -> str:
        """Return an operation with the comments above and behind it, indented as in the file."""
        node = self.operations[index]
        before = self.operations[index - 1].end_lineno if index else None
        first = node.lineno
        alone = not self.lines[first - 1][: node.col_offset].strip() and before != first
        if not alone:
            return f"        {self._segment(node)},\n"
        start = first
        while start - 1 > (before or 0) and self.lines[start - 2].strip().startswith("#"):
            start -= 1
        end = node.end_lineno or first
        rest = self.lines[end - 1].encode()[node.end_col_offset :].decode().strip()
        comment = f"  {rest.lstrip(', ')}" if rest.lstrip(", ").startswith("#") else ""
        head = "".join(f"{line}\n" for line in self.lines[start - 1 : first - 1])
        indent = " " * node.col_offset
        return f"{head}{indent}{self._segment(node)},{comment}\n"

    def own_attributes(self) -> str:
        """Return the source of what the class has beyond Django's attributes, as in the file."""
        return "".join(
            f"{self._blank_above(each) if number else ''}{self._code(each).strip(_NEWLINE)}\n"
            for number, each in enumerate(self.attributes)
        )

    def _blank_above(self, node: ast.stmt) -> str:
        return "\n" if not self.lines[self._first(node) - 2].strip() else ""

    def needed_by(self, names: Iterable[str]) -> tuple[list[str], str]:
        """Return the imports that names need, and the code, with what this needs in turn.

        With it goes what is executed for its effect on other modules, whatever the names are.
        """
        chosen = {n: set[str]() for n in effects_of(self.around, self._own, self.used)}
        waiting, seen = set(names).union(*(names_in(self.around[n]) for n in chosen)), set()
        while waiting:
            name = waiting.pop()
            seen.add(name)
            for number, each in enumerate(self.around):
                if name in defined_by(each) | (changed_by(each) & self._own):
                    if number not in chosen:
                        waiting |= names_in(each) - seen
                    chosen.setdefault(number, set()).add(name)
        if chosen:
            chosen |= {n: set() for n, each in enumerate(self.around) if of_the_future(each)}
        imports = [
            self._import(self.around[number], chosen[number])
            for number in sorted(chosen)
            if isinstance(self.around[number], ast.Import | ast.ImportFrom)
        ]
        code = "".join(
            self._code(self.around[number])
            for number in sorted(chosen)
            if not isinstance(self.around[number], ast.Import | ast.ImportFrom)
        )
        return imports, code

    @property
    def _own(self) -> AbstractSet[str]:
        """The names that the file itself defines."""
        code = (e for e in self.around if not isinstance(e, ast.Import | ast.ImportFrom))
        return {name for each in code for name in defined_by(each)}

    def _import(self, node: ast.stmt, names: set[str]) -> str:
        assert isinstance(node, ast.Import | ast.ImportFrom)
        kept = [each for each in node.names if import_name(each) in names]
        if not names or len(kept) == len(node.names):
            return self._segment(node)
        node = copy(node)
        node.names = kept
        return ast.unparse(node)

    def _code(self, node: ast.stmt) -> str:
        start = self._first(node)
        text = "\n".join(self.lines[start - 1 : node.end_lineno])
        blank = "\n\n" if isinstance(node, ast.FunctionDef | ast.ClassDef) else ""
        return f"{blank}{text}\n{blank}"

    def _first(self, node: ast.stmt) -> int:
        """Return the line where a statement begins, with its decorators and comments."""
        decorators = getattr(node, "decorator_list", [])
        start: int = min([node.lineno, *(each.lineno for each in decorators)])
        while start > 1 and self.lines[start - 2][node.col_offset :].startswith("#"):
            start -= 1
        return start

    def _segment(self, node: ast.stmt | ast.expr) -> str:
        return ast.get_source_segment("\n".join(self.lines), node) or ""


def read_written(path: Path) -> WrittenFile | None:
    """Return a file taken apart; None where it has no class of migrations to take apart."""
    source = path.read_text(encoding="utf-8")
    body = ast.parse(source).body
    classes = [each for each in body if isinstance(each, ast.ClassDef) and each.name == _CLASS]
    if len(classes) != 1:
        return None
    around = [each for each in body if each is not classes[0]]
    first = around[0] if around else None
    docstring = None
    if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant):
        docstring = ast.get_source_segment(source, first.value)
        around = around[1:]
    return WrittenFile(
        source.splitlines(),
        docstring,
        around,
        list(_operations(classes[0])),
        [each for each in classes[0].body if not _is_djangos(each)],
        frozenset(each.stem for each in path.parent.glob("[!_]*.py")) - {path.stem},
        frozenset(name for each in body for name in names_in(each)),
    )


def _assigned(node: ast.stmt) -> list[str]:
    """Return the names that an assignment in a class body is for."""
    if isinstance(node, ast.AnnAssign):
        return [ast.unparse(node.target)]
    return [ast.unparse(each) for each in node.targets] if isinstance(node, ast.Assign) else []


def _is_djangos(node: ast.stmt) -> bool:
    names = _assigned(node)
    return isinstance(node, ast.Pass) or (bool(names) and {*names} <= _DJANGOS)


def _operations(migration: ast.ClassDef) -> Iterator[ast.expr]:
    for each in migration.body:
        if isinstance(each, ast.Assign | ast.AnnAssign) and _assigned(each) == ["operations"]:
            listed = each.value
            if isinstance(listed, ast.List | ast.Tuple) and not any(
                isinstance(item, ast.Starred) for item in listed.elts
            ):
                yield from listed.elts
