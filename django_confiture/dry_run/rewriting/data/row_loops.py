"""A loop that gives each row values of its own and saves it, as batches of rows."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from types import FunctionType

from django_confiture.dry_run.rewriting.data.turns import TurnOfLoop
from django_confiture.dry_run.rewriting.data.updates import is_chain

_QUERYSET = {
    "all", "defer", "exclude", "filter", "iterator", "objects", "only", "order_by",
    "select_related", "using", "_base_manager", "_default_manager",
}  # fmt: skip


@dataclass(frozen=True)
class RowLoop:
    """``for row in queryset: row.x = ...; row.save(...)``, or with ``bulk_update()`` after it."""

    rows: str
    """The queryset, without ``iterator()`` and ``order_by()``."""
    loop: ast.For
    changed: str = ""
    """The name of the list for ``bulk_update()``."""
    bulk: ast.stmt | None = None
    helpers: frozenset[str] = frozenset()
    """The functions of the module that it needs."""

    @property
    def nodes(self) -> Sequence[ast.AST]:
        """The code that the authors wrote."""
        return [self.loop] if self.bulk is None else [self.loop, self.bulk]

    def lines(self, alias: str) -> Iterator[str]:
        """Yield the lines that do it for 1,000 rows at a time."""
        assert isinstance(self.loop.target, ast.Name)
        yield f"rows = {self.rows}"
        yield "last = None"
        yield "while True:"
        yield "    rest = rows if last is None else rows.filter(pk__gt=last)"
        yield f"    with transaction.atomic(using={alias}):"
        yield '        batch = list(rest.order_by("pk")[:1000])'
        if self.bulk is not None:
            yield f"        {self.changed} = []"
        yield f"        for {self.loop.target.id} in batch:"
        for each in self.loop.body:
            yield from (f"            {line}" for line in ast.unparse(each).splitlines())
        if self.bulk is not None:
            yield f"        {ast.unparse(self.bulk)}"
        yield "    if not batch:"
        yield "        return"
        yield "    last = batch[-1].pk"


def row_loop(steps: Sequence[ast.stmt], function: FunctionType) -> tuple[RowLoop, int] | None:
    """Return the loop over rows that statements begin with, and how many they are.

    Raises :class:`NoRecipe` for one that can't be cut off and begin again.
    """
    changed, rest = _empty_list(steps[0]), steps
    if changed:
        rest = steps[1:]
    loop = rest[0] if rest else None
    if not isinstance(loop, ast.For) or not isinstance(loop.target, ast.Name) or loop.orelse:
        return None
    if isinstance(loop.iter, ast.Name) or not is_chain(loop.iter, _QUERYSET):
        return None
    bulk = rest[1] if changed and len(rest) > 1 else None
    if changed and not _is_bulk_update(bulk, changed):
        return None
    helpers = TurnOfLoop(loop.target.id, changed, function).checked(loop.body)
    found = RowLoop(_without_order(loop.iter), loop, changed, bulk, helpers)
    return found, 1 + 2 * bool(changed)


def _empty_list(step: ast.stmt) -> str:
    if isinstance(step, ast.Assign) and isinstance(step.value, ast.List) and not step.value.elts:
        target = step.targets[0]
        return target.id if isinstance(target, ast.Name) and len(step.targets) == 1 else ""
    return ""


def _is_bulk_update(step: ast.stmt | None, changed: str) -> bool:
    call = step.value if isinstance(step, ast.Expr) else None
    if not isinstance(call, ast.Call) or not isinstance(call.func, ast.Attribute) or not call.args:
        return False
    return call.func.attr == "bulk_update" and ast.unparse(call.args[0]) == changed


def _without_order(node: ast.expr) -> str:
    while isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
        if node.func.attr not in ("iterator", "order_by"):
            break
        node = node.func.value
    return ast.unparse(node)
