"""Takes a function's body apart: what it looks up, its updates, its loops over rows."""

from __future__ import annotations

import ast
import copy
from collections.abc import Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from types import FunctionType

from django_confiture.dry_run.rewriting.data.functions import body_of, names_in
from django_confiture.dry_run.rewriting.data.output import without_output
from django_confiture.dry_run.rewriting.data.own_batches import OwnBatches, own_batches
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


def parts_of(node: ast.FunctionDef, function: FunctionType) -> Sequence[BodyPart]:
    """Return the parts in their order; raises :class:`NoRecipe` where there is more."""
    body = _Body(function, {each.arg for each in node.args.args})
    steps = [*_without_transactions(without_output(body_of(node), function))]
    while steps:
        del steps[: body.take(steps)]
    if not body.parts:
        raise NoRecipe(MORE)
    return body.parts


@dataclass
class _Body:
    function: FunctionType
    arguments: AbstractSet[str]
    before: list[ast.stmt] = field(default_factory=list)
    parts: list[BodyPart] = field(default_factory=list)
    querysets: dict[str, ast.expr] = field(default_factory=dict)
    """By the names that they are assigned to, which stand for them until the next assignment."""

    def take(self, steps: Sequence[ast.stmt]) -> int:
        """Take what statements begin with, and return how many they are."""
        if self._ends_elsewhere(steps[0]):
            self.before.append(steps[0])
            return 1
        now = [_with(each, self.querysets) for each in steps]
        if (assigned := _assigned(now[0])) is not None and self._looks_up(now[0], *assigned):
            return 1
        update = updates_in(now[0], self.function)
        if update is not None:
            if not same_again(update, self.function):
                raise NoRecipe(_TWICE)
            return self._part(update, 1)
        if (found := row_loop(now, self.function)) is not None:
            return self._part(*found)
        if (batches := own_batches(now, self.function)) is not None:
            return self._own_batches(*batches)
        raise NoRecipe(MORE)

    def _ends_elsewhere(self, step: ast.stmt) -> bool:
        """Return whether it ends the function on some databases, by its arguments alone."""
        if not isinstance(step, ast.If) or step.orelse:
            return False
        (first, *more) = step.body
        returns = isinstance(first, ast.Return) and first.value is None and not more
        calls = any(isinstance(each, ast.Call) for each in ast.walk(step.test))
        return returns and not calls and {e.id for e in names_in([step.test])} <= self.arguments

    def _looks_up(self, step: ast.stmt, name: str, value: ast.expr) -> bool:
        """Return whether an assignment is a queryset or a lookup, and remember it."""
        if name in {found[0] for each in self.before if (found := _assigned(each))}:
            return False
        if is_queryset(value):
            self.querysets[name] = value
        elif is_read(value):
            self.querysets.pop(name, None)
            self.before.append(step)
        else:
            return False
        return True

    def _part(self, does: Update | RowLoop, count: int) -> int:
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
