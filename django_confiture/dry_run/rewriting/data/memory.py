"""Whether the turns of a loop keep anything in Python for the next one."""

from __future__ import annotations

import ast
from collections.abc import Sequence
from collections.abc import Set as AbstractSet

from django_confiture.dry_run.rewriting.data.functions import names_in
from django_confiture.dry_run.rewriting.data.turns import KEEPING
from django_confiture.dry_run.rewriting.data.updates import is_chain

_KNOWN_STEPS = (
    ast.Assign, ast.AugAssign, ast.Break, ast.Continue, ast.Expr, ast.For, ast.If, ast.Pass,
    ast.Return, ast.With,
)  # fmt: skip
_UNKNOWN = (ast.Await, ast.GeneratorExp, ast.Lambda, ast.Yield, ast.YieldFrom)
_MANAGER = {"objects", "_base_manager", "_default_manager"}


def is_without_memory(loop: ast.While, around: ast.With | None) -> bool:
    """Return whether each turn sets all names that it reads, and changes nothing from outside."""
    stored = {each.id for each in names_in([loop]) if isinstance(each.ctx, ast.Store)}
    turn = _Turn(stored, {each.id for each in names_in(_cursors(around))})
    known = turn.after_expression(loop.test, set())
    return known is not None and turn.after(loop.body, known) is not None


def _cursors(around: ast.With | None) -> list[ast.expr]:
    items = [] if around is None else around.items
    return [each.optional_vars for each in items if each.optional_vars is not None]


class _Turn:
    """Follows the names that are set in one turn."""

    def __init__(self, stored: AbstractSet[str], cursors: AbstractSet[str]) -> None:
        self._stored = stored
        self._cursors = cursors

    def after(self, body: Sequence[ast.stmt], known: set[str]) -> set[str] | None:
        """Return the names that are set after some statements; None where one could remember."""
        for step in body:
            now = self._after_step(step, known)
            if now is None:
                return None
            known = now
        return known

    def after_expression(self, node: ast.expr, known: set[str]) -> set[str] | None:
        """Return the names that are set after an expression, which may set some itself."""
        set_here = {
            each.target.id for each in ast.walk(node) if isinstance(each, ast.NamedExpr)
        } | {
            name.id
            for each in ast.walk(node)
            if isinstance(each, ast.comprehension)
            for name in names_in([each.target])
        }
        read = {each.id for each in names_in([node]) if isinstance(each.ctx, ast.Load)}
        if (read & self._stored) - known - set_here or any(
            isinstance(each, _UNKNOWN) or self._keeps(each, known) for each in ast.walk(node)
        ):
            return None
        return known | set_here

    def _keeps(self, node: ast.AST, known: AbstractSet[str]) -> bool:
        """Return whether it may change an object that is there for the next turn, too."""
        if not isinstance(node, ast.Attribute) or node.attr not in KEEPING:
            return False
        made = any(isinstance(each, ast.Call) for each in ast.walk(node.value))
        manager = isinstance(node.value, ast.Attribute) and node.value.attr in _MANAGER
        own = isinstance(node.value, ast.Name) and node.value.id in known
        return not (own or (made and is_chain(node.value)) or (manager and is_chain(node.value)))

    def _after_step(self, step: ast.stmt, known: set[str]) -> set[str] | None:
        if not isinstance(step, _KNOWN_STEPS):
            return None
        if isinstance(step, ast.If):
            tested = self.after_expression(step.test, known)
            if tested is None:
                return None
            branches = [self.after(each, set(tested)) for each in (step.body, step.orelse)]
            then, otherwise = branches
            return None if then is None or otherwise is None else then & otherwise
        if isinstance(step, ast.For):
            iterated = self.after_expression(step.iter, known)
            if iterated is None or step.orelse:
                return None
            inside = self.after(step.body, iterated | {e.id for e in names_in([step.target])})
            return None if inside is None else iterated
        if isinstance(step, ast.With):
            return self._after_with(step, known)
        return self._after_simple(step, known)

    def _after_with(self, step: ast.With, known: set[str]) -> set[str] | None:
        for item in step.items:
            entered = self.after_expression(item.context_expr, known)
            if entered is None:
                return None
            set_here = [] if item.optional_vars is None else [item.optional_vars]
            known = entered | {each.id for each in names_in(set_here)}
        return self.after(step.body, known)

    def _after_simple(self, step: ast.stmt, known: set[str]) -> set[str] | None:
        value = getattr(step, "value", None)
        after = known if value is None else self.after_expression(value, known)
        if after is None:
            return None
        targets: list[ast.expr] = []
        if isinstance(step, ast.Assign):
            targets = step.targets
        elif isinstance(step, ast.AugAssign):
            targets = [step.target]
            if not (isinstance(step.target, ast.Name) and step.target.id in known):
                return None
        for each in [e for t in targets for e in (t.elts if isinstance(t, ast.Tuple) else [t])]:
            if isinstance(each, ast.Name):
                after = after | {each.id}
            elif {e.id for e in names_in([each]) if isinstance(e.ctx, ast.Load)} - known:
                return None
        return after
