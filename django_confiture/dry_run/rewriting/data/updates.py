"""``queryset.update()`` or ``.delete()``, once or for each pair of a constant, over keys."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from types import FunctionType
from typing import Any

from django_confiture.dry_run.rewriting.data.functions import constant
from django_confiture.dry_run.sql.rows.running_twice import may_be_equal

_CHAIN = {"all", "exclude", "filter", "objects", "using", "_base_manager", "_default_manager"}
_SAME_ROWS = {
    "defer", "only", "order_by", "prefetch_related", "select_for_update", "select_related",
}  # fmt: skip
_READS = _CHAIN | {"earliest", "first", "get", "last", "latest", "only", "order_by"}
_KEYS = {"id", "pk"}
_PLAIN = (str, int, type(None))
_Row = tuple[str | None, int | None]
"""What simulating knows of a row: the column's value, and which update came last."""


@dataclass(frozen=True)
class Update:
    """A ``queryset.update()`` or ``.delete()``, for all that it stands in."""

    call: ast.Call
    loop: ast.For | None = None
    """The loop over a constant that it stands in."""

    @property
    def rows(self) -> str:
        """The queryset."""
        return ast.unparse(self._method.value)

    @property
    def deletes(self) -> bool:
        """Whether it deletes the rows."""
        return self._method.attr != "update"

    @property
    def is_raw(self) -> bool:
        """Whether it deletes the rows alone, and nothing along with them."""
        return self._method.attr == "_raw_delete"

    @property
    def _method(self) -> ast.Attribute:
        assert isinstance(self.call.func, ast.Attribute)
        return self.call.func

    @property
    def nodes(self) -> Sequence[ast.AST]:
        """The code that the authors wrote."""
        return [self.call if self.loop is None else self.loop]

    @property
    def form(self) -> str:
        """Its code without constants: those of another form send another statement."""
        return re.sub(r"Constant\(value=.*?\)", "Constant()", ast.dump(self.call))

    @property
    def helpers(self) -> frozenset[str]:
        """The functions of the module that it may call: none."""
        return frozenset()

    def lines(self, _alias: str) -> Iterator[str]:
        """Yield the lines that do it for 5,000 keys at a time."""
        leave, indent = ("return", "") if self.loop is None else ("break", "    ")
        if self.loop is not None:
            yield ast.unparse(self.loop).splitlines()[0]
        values = f"values = dict({', '.join(map(ast.unparse, self.call.keywords))})"
        given = ", ".join(map(ast.unparse, self.call.args)) if self.deletes else "**values"
        for line in (
            f"rows = {self.rows}",
            *([] if self.deletes else [values]),
            "last = None",
            "while True:",
            "    rest = rows if last is None else rows.filter(pk__gt=last)",
            '    batch = list(rest.order_by("pk").values_list("pk", flat=True)[:5000])',
            "    if not batch:",
            f"        {leave}",
            f"    rows.filter(pk__in=batch).{self._method.attr}({given})",
            "    last = batch[-1]",
        ):
            yield f"{indent}{line}"


def updates_in(step: ast.stmt, function: FunctionType) -> Update | None:
    """Return the update that a statement is, or that a loop over a constant repeats."""
    if isinstance(step, ast.Expr) and isinstance(step.value, ast.Call) and is_update(step.value):
        return Update(step.value)
    if isinstance(step, ast.For) and not step.orelse and len(step.body) == 1:
        inner = updates_in(step.body[0], function)
        if inner is not None and inner.loop is None and items_of(step, function) is not None:
            return Update(inner.call, step)
    return None


def items_of(loop: ast.For, function: FunctionType) -> Sequence[dict[str, Any]] | None:
    """Return the values that a loop over a constant gives its names; None for another loop."""
    source, items = loop.iter, False
    if isinstance(source, ast.Call):
        if not isinstance(source.func, ast.Attribute) or source.func.attr != "items":
            return None
        source, items = source.func.value, True
    targets = loop.target.elts if isinstance(loop.target, ast.Tuple) else [loop.target]
    names = [each.id for each in targets if isinstance(each, ast.Name)]
    try:
        found = constant(source, function)
        rows = list(found.items() if items else found)
        if not isinstance(loop.target, ast.Tuple):
            rows = [(each,) for each in rows]
        return [dict(zip(names, each, strict=True)) for each in rows]
    except (AttributeError, TypeError, ValueError):
        return None


def is_lookup(node: ast.expr) -> bool:
    """Return whether it is a model, or the connection's alias."""
    text = ast.unparse(node)
    return text.endswith(".connection.alias") or (
        isinstance(node, ast.Call) and ast.unparse(node.func).endswith(".get_model")
    )


def is_queryset(node: ast.expr) -> bool:
    """Return whether it is a model's manager, or a queryset made of it."""
    return not (isinstance(node, ast.Name) or is_lookup(node)) and is_chain(
        node, _CHAIN | _SAME_ROWS
    )


def is_read(node: ast.expr) -> bool:
    """Return whether it is a lookup, or a row that a queryset returns."""
    if is_lookup(node):
        return True
    if isinstance(node, ast.Attribute) and node.attr in _KEYS:
        node = node.value
    return isinstance(node, ast.Call) and is_chain(node, _READS)


def is_update(call: ast.Call) -> bool:
    """Return whether it is ``model.objects.filter(...).update(...)`` or the like."""
    if not isinstance(call.func, ast.Attribute):
        return False
    given = len(call.args), len(call.keywords)
    plain = {"update": not call.args, "delete": given == (0, 0), "_raw_delete": given == (1, 0)}
    return plain.get(call.func.attr, False) and is_chain(call.func.value)


def is_chain(node: ast.expr, methods: set[str] = _CHAIN) -> bool:
    """Return whether it is a model's manager, or a queryset made of it by some methods."""
    while isinstance(node, ast.Call | ast.Attribute):
        if isinstance(node, ast.Call) and is_lookup(node):
            return True
        inner = node.func if isinstance(node, ast.Call) else node
        if not isinstance(inner, ast.Attribute) or inner.attr not in methods:
            return False
        node = inner.value
    return isinstance(node, ast.Name)


def same_again(update: Update, function: FunctionType) -> bool:
    """Return whether a loop that begins again, cut off anywhere, ends as if it had not been.

    So it is where its rows are chosen by other columns than it writes, or by one that it maps
    from constants to constants.
    """
    if update.loop is None or update.deletes:
        return True
    chosen = _chosen_by(update.call)
    written = {each.arg for each in update.call.keywords}
    if chosen is None or None in written:
        return False
    by = {name for name in chosen if name.partition("__")[0] in _names_of(written)}
    if not by:
        return True
    items = items_of(update.loop, function) or []
    (name, *others) = by
    values = {each.arg: each.value for each in update.call.keywords}
    if others or name not in values:
        return False
    pairs = [(_value(chosen[name], each), _value(values[name], each)) for each in items]
    return all(type(each) in _PLAIN for pair in pairs for each in pair) and _ends_the_same(
        [(_text_of_value(old), _text_of_value(new)) for old, new in pairs]
    )


def _names_of(fields: set[str | None]) -> set[str]:
    """Return the names by which a filter may mean what an update writes."""
    found = {each.removesuffix("_id") for each in fields if each}
    keys = _KEYS if fields & _KEYS else set()
    return {*found, *(f"{each}_id" for each in found), *keys}


def _chosen_by(call: ast.Call) -> dict[str, ast.expr] | None:
    """Return the conditions of an update's queryset by name; None where they aren't plain."""
    found: dict[str, ast.expr] = {}
    for each in ast.walk(call.func):
        if not isinstance(each, ast.Call) or is_lookup(each):
            continue
        name = each.func.attr if isinstance(each.func, ast.Attribute) else ""
        if name == "using" or not (each.args or each.keywords):
            continue
        if (
            name != "filter"
            or each.args
            or any(e.arg is None or e.arg in found for e in each.keywords)
        ):
            return None
        found |= {e.arg: e.value for e in each.keywords if e.arg}
    return found


def _value(node: ast.expr, names: dict[str, Any]) -> Any:
    if isinstance(node, ast.Name):
        return names.get(node.id, ...)
    return node.value if isinstance(node, ast.Constant) else ...


def _text_of_value(value: Any) -> str | None:
    return None if value is None else str(value)


def _ends_the_same(pairs: Sequence[tuple[str | None, str | None]]) -> bool:
    """Return whether all rows end alike where the updates begin again after any of them."""
    known = {value for pair in pairs for value in pair}
    texts = sorted(value for value in known if value is not None)
    for index, one in enumerate(texts):
        if any(may_be_equal(one, other) for other in texts[index + 1 :]):
            return False
    for value in known:
        row: _Row = (value, None)
        path = [row]
        for number, pair in enumerate(pairs):
            row = _after(row, number, pair)
            path.append(row)
        for start in path:
            again = start
            for number, pair in enumerate(pairs):
                again = _after(again, number, pair)
            if again != row:
                return False
    return True


def _after(row: _Row, number: int, pair: tuple[str | None, str | None]) -> _Row:
    old, new = pair
    return (new, number) if row[0] == old else row
