"""Takes a function's body apart: what it looks up, its updates, its loops over rows."""

from __future__ import annotations

import ast
import copy
from collections.abc import Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from types import FunctionType

from django_confiture.dry_run.rewriting.data.collected import collected_from
from django_confiture.dry_run.rewriting.data.functions import body_of, names_in
from django_confiture.dry_run.rewriting.data.output import without_output
from django_confiture.dry_run.rewriting.data.own_batches import OwnBatches, own_batches
from django_confiture.dry_run.rewriting.data.questions import holds, question
from django_confiture.dry_run.rewriting.data.row_loops import RowLoop, row_loop
from django_confiture.dry_run.rewriting.data.updates import (
    Update,
    is_lookup,
    is_queryset,
    is_read,
    same_again,
    updates_in,
)
from django_confiture.dry_run.rewriting.files import NoRecipe

MORE = "its code is more than queryset.update() and loops that save each row: give those a function"
_TWICE = (
    "its loop updates a column by which it chooses rows, and begun again it might end otherwise: "
    "write one update() for each value"
)
_SAME_ROWS = (
    "its loops go through one queryset twice, whose rows are those of the first time: give each "
    "its own"
)
_COLLECTED = (
    "what it collects at first is of a model that it then goes through, and begun again it might "
    "be another: collect it in a function of its own"
)
_ATOMIC = ("atomic", "transaction.atomic")
_OWN = {"batch", "last", "rest", "rows", "values"}


@dataclass(frozen=True)
class BodyPart:
    """An update or a loop over rows, with the assignments before it."""

    does: Update | RowLoop | OwnBatches
    before: Sequence[ast.stmt]

    def body(self, alias: str) -> tuple[list[ast.stmt], str]:
        """Return the statements that do it in batches, and their source."""
        text = "\n".join(self.does.lines(alias))
        own = ast.parse(text).body
        needed = self.needed()
        return [*needed, *own], "\n".join([*map(ast.unparse, needed), text])

    def needed(self) -> list[ast.stmt]:
        """Return those of the assignments that it needs, and what ends the function early."""
        names = {each.id for each in names_in(ast.parse("\n".join(self.does.lines("None"))).body)}
        found: list[ast.stmt] = []
        for each in reversed(self.before):
            used = names_in([each])
            if isinstance(each, ast.If) or names & {
                name.id for name in used if isinstance(name.ctx, ast.Store)
            }:
                found.insert(0, each)
                names |= {name.id for name in used}
        return found

    def without(self, steps: Sequence[ast.stmt]) -> BodyPart:
        """Return it without some of what is before it."""
        return BodyPart(self.does, [e for e in self.before if all(e is not s for s in steps)])


@dataclass(frozen=True)
class Guard:
    """``if not queryset.exists(): return``, or the same around what is left of the function."""

    step: ast.If
    rows: ast.expr | None
    """The queryset that it ends for where that has no rows."""
    sends: bool
    inside: Sequence[ast.stmt] = ()

    def is_needless(self, parts: Sequence[BodyPart]) -> bool:
        """Return whether all that it guards goes through some of the rows that it asks for.

        Where there are none, that does nothing; and in batches that begin again it must not be
        asked, as the rows may be done by then.
        """
        guarded = [e.does for e in parts if any(each is self.step for each in e.before)]
        return self.rows is not None and all(
            not isinstance(each, OwnBatches) and holds(self.rows, _expression(each.rows))
            for each in guarded
        )


def guard_of(steps: Sequence[ast.stmt]) -> Guard | None:
    """Return the guard that statements begin with; None for anything else."""
    step = steps[0]
    if not isinstance(step, ast.If) or step.orelse or (asked := question(step.test)) is None:
        return None
    returns = _is_return(step)
    rows = asked.rows if asked.is_none is returns else None
    if returns:
        return Guard(step, rows, asked.sends)
    if len(steps) > 1:
        return None
    left = ast.If(ast.UnaryOp(ast.Not(), step.test), [ast.Return()], [])
    return Guard(left, rows, asked.sends, step.body)


@dataclass(frozen=True)
class Parts:
    """The parts of a function's body in their order, and what it asks beside them."""

    parts: Sequence[BodyPart]
    guards: Sequence[Guard]
    """What ends them early, by rows that other code writes."""
    asked: int
    """How many questions about rows the batches leave out."""


def parts_of(node: ast.FunctionDef, function: FunctionType) -> Parts:
    """Return the parts; raises :class:`NoRecipe` where there is more."""
    silent, asked = without_output(body_of(node), function)
    body = _Body(function, {each.arg for each in node.args.args})
    body.take_all([*_without_transactions(silent)])
    if not body.parts:
        raise NoRecipe(MORE)
    needless = [each for each in body.guards if each.is_needless(body.parts)]
    asked |= {ast.unparse(each.step.test) for each in needless if each.sends}
    parts = [each.without([guard.step for guard in needless]) for each in body.parts]
    return Parts(parts, [each for each in body.guards if each not in needless], len(asked))


@dataclass
class _Body:
    function: FunctionType
    arguments: AbstractSet[str]
    before: list[ast.stmt] = field(default_factory=list)
    parts: list[BodyPart] = field(default_factory=list)
    guards: list[Guard] = field(default_factory=list)
    gone_through: set[str] = field(default_factory=set)
    """The names of querysets that a loop has gone through: their rows are known from then on."""
    querysets: dict[str, ast.expr] = field(default_factory=dict)
    """By the names that they are assigned to, which stand for them until the next assignment."""
    collected: set[str] = field(default_factory=set)
    """The models, as written, of whose rows something was collected."""

    def take_all(self, steps: list[ast.stmt]) -> None:
        """Take all statements."""
        while steps:
            del steps[: self.take(steps)]

    def take(self, steps: Sequence[ast.stmt]) -> int:
        """Take what statements begin with, and return how many they are."""
        if self._ends_elsewhere(steps[0]):
            self.before.append(steps[0])
            return 1
        now = [_with(each, self.querysets) for each in steps]
        if (guard := guard_of(now)) is not None:
            self.before.append(guard.step)
            self.guards.append(guard)
            self.take_all([*guard.inside])
            return 1
        if (assigned := _assigned(now[0])) is not None and self._looks_up(now[0], *assigned):
            return 1
        update = updates_in(now[0], self.function)
        if update is not None:
            if not same_again(update, self.function):
                raise NoRecipe(_TWICE)
            return self._part(update, 1)
        if (found := row_loop(now, self.function)) is not None:
            self._go_through(steps[found[1] // 2])
            return self._part(*found)
        if (batches := own_batches(now, self.function)) is not None:
            return self._own_batches(*batches)
        raise NoRecipe(MORE)

    def _go_through(self, loop: ast.stmt) -> None:
        """Note the queryset that a loop has by name; refuse a second loop over the same."""
        name = ast.unparse(loop.iter) if isinstance(loop, ast.For) else ""
        if name in self.gone_through:
            raise NoRecipe(_SAME_ROWS)
        self.gone_through |= {name} & {*self.querysets}

    def _ends_elsewhere(self, step: ast.stmt) -> bool:
        """Return whether it ends the function on some databases, by its arguments alone."""
        if not isinstance(step, ast.If) or step.orelse:
            return False
        if any(isinstance(each, ast.Call) for each in ast.walk(step.test)):
            return False
        return _is_return(step) and {e.id for e in names_in([step.test])} <= self.arguments

    def _looks_up(self, step: ast.stmt, name: str, value: ast.expr) -> bool:
        """Return whether an assignment is a queryset or a lookup, and remember it."""
        if name in {found[0] for each in self.before if (found := _assigned(each))}:
            return False
        if is_queryset(value):
            self.querysets[name] = value
            self.gone_through.discard(name)
        elif is_read(value) or collected_from(value):
            self.collected |= {model} if (model := collected_from(value)) else set()
            self.querysets.pop(name, None)
            self.before.append(step)
        else:
            return False
        return True

    def _part(self, does: Update | RowLoop, count: int) -> int:
        nodes = (node for each in does.nodes for node in ast.walk(each))
        if self.collected & {ast.unparse(e) for e in nodes if isinstance(e, ast.Call | ast.Name)}:
            raise NoRecipe(_COLLECTED)
        if taken := _OWN & {each.id for each in names_in(does.nodes)}:
            raise NoRecipe(f"its code has the name {min(taken)}, which the batches need")
        self.parts.append(BodyPart(does, tuple(self.before)))
        return count

    def _own_batches(self, does: OwnBatches, count: int) -> int:
        part = BodyPart(does, tuple(self.before))
        read = [
            each for each in part.needed() if (found := _assigned(each)) and not is_lookup(found[1])
        ]
        if read:
            raise NoRecipe(MORE)
        self.parts.append(part)
        return count


def _is_return(step: ast.If) -> bool:
    (first, *more) = step.body
    return isinstance(first, ast.Return) and first.value is None and not more


def _expression(source: str) -> ast.expr:
    return ast.parse(source, mode="eval").body


def _without_transactions(steps: Sequence[ast.stmt]) -> Iterator[ast.stmt]:
    """Yield statements, and those that stand in an ``atomic()``: each batch has its own."""
    for each in steps:
        calls = isinstance(each, ast.With) and [e.context_expr for e in each.items]
        if calls and all(ast.unparse(e).partition("(")[0] in _ATOMIC for e in calls):
            assert isinstance(each, ast.With)
            yield from _without_transactions(each.body)
        else:
            yield each


def _assigned(step: ast.stmt) -> tuple[str, ast.expr] | None:
    if isinstance(step, ast.Assign) and len(step.targets) == 1:
        (target,) = step.targets
        if isinstance(target, ast.Name):
            return target.id, step.value
    return None


def _with(step: ast.stmt, querysets: Mapping[str, ast.expr]) -> ast.stmt:
    """Return a statement with the querysets in place of their names."""

    class Named(ast.NodeTransformer):
        def visit_Name(self, node: ast.Name) -> ast.expr:
            found = querysets.get(node.id) if isinstance(node.ctx, ast.Load) else None
            return node if found is None else found

    changed: ast.stmt = Named().visit(copy.deepcopy(step))
    return changed
