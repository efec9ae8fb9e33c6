"""A loop that gives each row values of its own and saves it, as batches of rows."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from types import FunctionType

from django_confiture.dry_run.rewriting.data.collected import model_of
from django_confiture.dry_run.rewriting.data.rows_of_values import rows_of_loop
from django_confiture.dry_run.rewriting.data.turns import TurnOfLoop, is_deletion
from django_confiture.dry_run.rewriting.data.updates import is_chain, is_update

_QUERYSET = {
    "all", "defer", "exclude", "filter", "iterator", "objects", "only", "order_by",
    "select_for_update", "select_related", "using", "values", "values_list", "_base_manager",
    "_default_manager",
}  # fmt: skip


@dataclass(frozen=True)
class RowLoop:
    """``for row in queryset: row.x = ...; row.save(...)``, or with ``bulk_update()`` after it.

    Or ``if ...: row.delete()``.
    """

    rows: str
    """The queryset, without ``iterator()`` and ``order_by()``."""
    loop: ast.For
    changed: str = ""
    """The name of the list for ``bulk_update()``."""
    bulk: ast.stmt | None = None
    helpers: frozenset[str] = frozenset()
    """The functions of the module that it needs."""
    key: str = ".pk"
    """What comes after a row to get its primary key."""

    @property
    def nodes(self) -> Sequence[ast.AST]:
        """The code that the authors wrote."""
        return [self.loop] if self.bulk is None else [self.loop, self.bulk]

    @property
    def deletes(self) -> bool:
        """Whether it deletes rows."""
        row = ast.unparse(self.loop.target)
        return any(is_deletion(each, row) for each in ast.walk(self.loop))

    @property
    def models(self) -> frozenset[str]:
        """The models whose rows it writes, as they are written."""
        calls = [each for each in ast.walk(self.loop) if isinstance(each, ast.Call)]
        found = {model_of(each.func) for each in calls if is_update(each)}
        saves = f"{ast.unparse(self.loop.target)}.save"
        if self.changed or self.deletes or any(ast.unparse(each.func) == saves for each in calls):
            found.add(self.model)
        return frozenset(found)

    @property
    def model(self) -> str:
        """The model whose rows it goes through, as it is written."""
        return model_of(self.loop.iter)

    @property
    def goes_by_id(self) -> bool:
        """Whether it takes ``id`` for the primary key: a queryset's column, or a condition."""
        given = [each for each in ast.walk(self.loop) if isinstance(each, ast.keyword)]
        texts = [f"{each.arg}={ast.unparse(each.value)}" for each in given]
        by_id = any(e.startswith("id=") or (e[:3] == "pk=" and e.endswith(".id")) for e in texts)
        return by_id or self.key == "['id']" or "'id'" in self.rows

    def lines(self, alias: str) -> Iterator[str]:
        """Yield the lines that do it for 1,000 rows at a time; for fewer that it locks to work."""
        size = 100 if "select_for_update" in self.rows else 1000
        yield f"rows = {self.rows}"
        yield "last = None"
        yield "while True:"
        yield "    rest = rows if last is None else rows.filter(pk__gt=last)"
        yield f"    with transaction.atomic(using={alias}):"
        yield f'        batch = list(rest.order_by("pk")[:{size}])'
        yield "        if not batch:"
        yield "            return"
        yield f"        last = batch[-1]{self.key}"
        if self.bulk is not None:
            yield f"        {self.changed} = []"
        yield f"        for {ast.unparse(self.loop.target)} in batch:"
        for each in self.loop.body:
            yield from (f"            {line}" for line in ast.unparse(each).splitlines())
        if self.bulk is not None:
            yield f"        {ast.unparse(self.bulk)}"


def row_loop(steps: Sequence[ast.stmt], function: FunctionType) -> tuple[RowLoop, int] | None:
    """Return the loop over rows that statements begin with, and how many they are.

    Raises :class:`NoRecipe` for one that can't be cut off and begin again.
    """
    changed, rest = _empty_list(steps[0]), steps
    if changed:
        rest = steps[1:]
    loop = rest[0] if rest else None
    if not isinstance(loop, ast.For) or loop.orelse:
        return None
    if isinstance(loop.iter, ast.Name) or not is_chain(loop.iter, _QUERYSET):
        return None
    bulk = rest[1] if changed and len(rest) > 1 else None
    if changed:
        bulk, full = _if_any(bulk, changed), _when_full(loop.body[-1], changed)
        if bulk is None or not _is_bulk_update(bulk, changed):
            return None
        if full is not None and ast.dump(full) == ast.dump(bulk):
            loop = ast.For(loop.target, loop.iter, loop.body[:-1], [], lineno=loop.lineno)
    rows = rows_of_loop(loop)
    if rows is None:
        return None
    helpers = TurnOfLoop(rows.row, changed, function).checked(rows.body)
    found = RowLoop(_without_order(loop.iter), loop, changed, bulk, helpers, rows.key)
    return found, 1 + 2 * bool(changed)


def _empty_list(step: ast.stmt) -> str:
    if isinstance(step, ast.Assign) and isinstance(step.value, ast.List) and not step.value.elts:
        target = step.targets[0]
        return target.id if isinstance(target, ast.Name) and len(step.targets) == 1 else ""
    return ""


def _if_any(step: ast.stmt | None, changed: str) -> ast.stmt | None:
    """Return what is done where the list has something in it; a statement without that, as is."""
    if isinstance(step, ast.If) and not step.orelse and len(step.body) == 1:
        return step.body[0] if ast.unparse(step.test) in (changed, f"len({changed})") else None
    return step


def _when_full(step: ast.stmt, changed: str) -> ast.stmt | None:
    """Return what is done with the list where it is long enough, before it is emptied."""
    if not isinstance(step, ast.If) or step.orelse or len(step.body) != 2:
        return None
    test, (does, empties) = step.test, step.body
    counts = isinstance(test, ast.Compare) and ast.unparse(test.left) == f"len({changed})"
    emptied = _empty_list(empties) == changed or ast.unparse(empties) in (
        f"{changed}.clear()",
        f"del {changed}[:]",
    )
    return does if counts and emptied else None


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
