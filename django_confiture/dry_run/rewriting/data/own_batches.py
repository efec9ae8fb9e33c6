"""Batches that the authors wrote themselves: each turn of their loop gets its own transaction.

An interrupted file begins again. That leads to the same rows where a turn takes nothing over from
the ones before it: the loop goes on by what it finds in the database. Else each turn has to write
the same values a second time, to rows that are chosen by other columns.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from types import FunctionType

from django_confiture.dry_run.rewriting.data.functions import names_in
from django_confiture.dry_run.rewriting.data.memory import is_without_memory
from django_confiture.dry_run.rewriting.data.turns import TurnOfLoop
from django_confiture.dry_run.rewriting.data.updates import is_lookup
from django_confiture.dry_run.rewriting.files import NoRecipe

_NOT_IN_BATCHES = {"durable", "on_commit", "savepoint_rollback", "set_autocommit"}
_SAVED = (
    "its loop over batches carries something from one to the next, and does more than give rows "
    "values of their own and save them: choose each batch by what is left to do"
)


@dataclass(frozen=True)
class OwnBatches:
    """A loop whose turns each work on some rows, with what is set before it."""

    loop: ast.While | ast.For
    before: tuple[ast.Assign, ...] = ()
    around: ast.With | None = None
    """The cursor that the loop uses."""
    begins_again: bool = False
    """Whether it goes through all rows again, rather than on with what is left."""
    helpers: frozenset[str] = frozenset()
    deletes: bool = False

    @property
    def nodes(self) -> Sequence[ast.AST]:
        """The code that the authors wrote."""
        return [*self.before, self.loop]

    def lines(self, alias: str) -> Iterator[str]:
        """Yield the lines that do it, one transaction a turn."""
        for assigned in self.before:
            yield from ast.unparse(assigned).splitlines()
        indent = ""
        if self.around is not None:
            yield ast.unparse(self.around).splitlines()[0]
            indent = "    "
        head, test = "while True:", None
        if isinstance(self.loop, ast.For):
            head = f"for {ast.unparse(self.loop.target)} in {ast.unparse(self.loop.iter)}:"
        elif ast.unparse(self.loop.test) != "True":
            test = self.loop.test
        yield f"{indent}{head}"
        yield f"{indent}    with transaction.atomic(using={alias}):"
        if test is not None:
            yield f"{indent}        if {ast.unparse(ast.UnaryOp(ast.Not(), test))}:"
            yield f"{indent}            break"
        for each in self.loop.body:
            yield from (f"{indent}        {line}" for line in ast.unparse(each).splitlines())


def own_batches(steps: Sequence[ast.stmt], function: FunctionType) -> tuple[OwnBatches, int] | None:
    """Return the loop over batches that statements begin with, and how many they are."""
    before = tuple(_assignments(steps))
    count = len(before)
    around: ast.With | None = None
    loop: ast.stmt | None = next(iter(steps[count:]), None)
    if isinstance(loop, ast.With) and len(loop.body) == 1 and _is_cursor(loop):
        around, (loop,) = loop, loop.body
    if not isinstance(loop, ast.While | ast.For) or loop.orelse or not _is_limited(loop):
        return None
    names = (
        {each.id for each in names_in([loop])}
        | {each.attr for each in ast.walk(loop) if isinstance(each, ast.Attribute)}
        | {each.arg for each in ast.walk(loop) if isinstance(each, ast.keyword) if each.arg}
    )
    if names & _NOT_IN_BATCHES:
        return None
    found = OwnBatches(loop, before, around)
    if not all(_is_plain(each) for each in before):
        return None
    constant = all(isinstance(each.value, ast.Constant) for each in found.before)
    if constant and isinstance(loop, ast.While) and is_without_memory(loop, around):
        return found, count + 1
    helpers = _repeated(loop, function)
    again = OwnBatches(loop, before, around, begins_again=True, helpers=helpers)
    return again, count + 1


def _assignments(steps: Sequence[ast.stmt]) -> Iterator[ast.Assign]:
    for each in steps:
        if not isinstance(each, ast.Assign):
            return
        yield each


def _is_cursor(step: ast.With) -> bool:
    calls = [ast.unparse(each.context_expr) for each in step.items]
    return len(calls) == 1 and calls[0].endswith("connection.cursor()")


def _is_plain(step: ast.Assign) -> bool:
    """Return whether it sets a constant, a number of rows or their pages before the loop."""
    value = step.value
    if not isinstance(value, ast.Call):
        return isinstance(value, ast.Constant)
    return is_lookup(value) or ast.unparse(value.func).endswith((".count", "Paginator"))


def _is_limited(loop: ast.While | ast.For) -> bool:
    """Return whether a turn takes some rows only: by a slice, a page, or LIMIT."""
    for each in ast.walk(loop):
        if isinstance(each, ast.Slice) and each.upper is not None:
            return True
        if isinstance(each, ast.Constant) and " LIMIT " in str(each.value).upper():
            return True
        if isinstance(each, ast.Attribute) and each.attr in ("page", "get_page"):
            return True
    return False


def _repeated(loop: ast.While | ast.For, function: FunctionType) -> frozenset[str]:
    """Return the functions that a loop needs whose turns save rows with values of their own.

    Raises :class:`NoRecipe` where they do more.
    """
    inner = [each for each in ast.walk(loop) if isinstance(each, ast.For) and each is not loop]
    if len(inner) != 1 or not isinstance(inner[0].target, ast.Name) or inner[0].orelse:
        raise NoRecipe(_SAVED)
    (rows,) = inner
    assert isinstance(rows.target, ast.Name)
    outside = [*_outside(loop.body, rows)]
    changed = {name for each in outside if (name := _made_list(each))}
    saved = [call for each in outside for call in _bulk_updates(each)]
    if not all(map(_is_harmless, outside)) or len(saved) > 1:
        raise NoRecipe(_SAVED)
    stored = {e.id for e in names_in([loop]) if isinstance(e.ctx, ast.Store)}
    within = {e.id for e in names_in(rows.body) if isinstance(e.ctx, ast.Store)}
    read = {e.id for e in names_in(rows.body) if isinstance(e.ctx, ast.Load)}
    if read & (stored - within - changed - {rows.target.id}):
        raise NoRecipe(_SAVED)
    given = ast.unparse(saved[0].args[0]) if saved else ""
    listed = given if given in changed else ""
    return TurnOfLoop(rows.target.id, listed, function).checked(rows.body)


def _outside(body: Sequence[ast.stmt], rows: ast.For) -> Iterator[ast.stmt]:
    """Yield the statements of a turn, without the loop over its rows."""
    for each in body:
        if each is rows:
            continue
        if isinstance(each, ast.With):
            yield from _outside(each.body, rows)
        elif isinstance(each, ast.If):
            yield from _outside([*each.body, *each.orelse], rows)
        else:
            yield each


def _made_list(step: ast.stmt) -> str:
    if isinstance(step, ast.Assign) and isinstance(step.value, ast.List) and not step.value.elts:
        return ast.unparse(step.targets[0])
    return ""


def _bulk_updates(step: ast.stmt) -> Iterator[ast.Call]:
    call = step.value if isinstance(step, ast.Expr) else None
    method = call.func if isinstance(call, ast.Call) and call.args else None
    if isinstance(call, ast.Call) and ast.unparse(method or call).endswith(".bulk_update"):
        yield call


def _is_harmless(step: ast.stmt) -> bool:
    """Return whether a statement saves rows in bulk, chooses some, or counts."""
    if isinstance(step, ast.Break | ast.Continue | ast.Pass):
        return True
    if isinstance(step, ast.Assign | ast.AugAssign):
        targets = step.targets if isinstance(step, ast.Assign) else [step.target]
        return all(isinstance(each, ast.Name) for each in targets)
    if isinstance(step, ast.Return):
        return step.value is None
    printed = isinstance(step, ast.Expr) and ast.unparse(step).startswith(("print(", "time.sleep("))
    return printed or any(_bulk_updates(step))
