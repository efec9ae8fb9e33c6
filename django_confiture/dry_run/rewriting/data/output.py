"""What a function prints, logs, and counts for that: left out of batches, as it changes no row."""

from __future__ import annotations

import ast
import copy
import logging
from collections.abc import Sequence
from types import FunctionType

from django_confiture.dry_run.rewriting.data.functions import names_in
from django_confiture.dry_run.rewriting.data.questions import names_of_rows, without_questions

_LEVELS = {"critical", "debug", "error", "exception", "info", "log", "warning"}
_PURE = {"float", "int", "len", "round", "str"}


def without_output(
    steps: Sequence[ast.stmt], function: FunctionType
) -> tuple[list[ast.stmt], set[str]]:
    """Return statements without what prints or logs, and without what is counted for that alone.

    And what that asked of the database, which is what any run asks.
    """
    silent = [copy.deepcopy(each) for each in steps]
    asked: set[str] = set()
    if any(isinstance(node, ast.Global | ast.Nonlocal) for e in silent for node in ast.walk(e)):
        return silent, asked
    rows = names_of_rows(silent)
    while True:
        before = ast.dump(ast.Module(silent, []))
        loaded = {e.id for e in names_in(silent) if isinstance(e.ctx, ast.Load)}
        output = _Output(function, loaded, rows)
        silent = output.without(silent, always=True)
        asked |= output.asked
        if ast.dump(ast.Module(silent, [])) == before:
            return silent, asked


class _Output:
    def __init__(self, function: FunctionType, loaded: set[str], rows: set[str]) -> None:
        self._function = function
        self._loaded = loaded
        self._rows = rows
        self.asked: set[str] = set()

    def without(self, steps: Sequence[ast.stmt], *, always: bool = False) -> list[ast.stmt]:
        """Return the statements that are left, within others too.

        ``always`` says that they run each time, and so does what they ask.
        """
        left = []
        for each in steps:
            answered, asked = without_questions(each, self._rows)
            if self._prints(answered) or self._counts(answered):
                self.asked |= asked if always else set()
                continue
            if isinstance(each, ast.For | ast.While | ast.With | ast.If):
                inside = always and isinstance(each, ast.With)
                each.body = self.without(each.body, always=inside) or [ast.Pass()]
            if isinstance(each, ast.If):
                each.orelse = self.without(each.orelse)
                if _is_pure(each.test) and not each.orelse and _is_nothing(each.body):
                    continue
            left.append(each)
        return left

    def _prints(self, step: ast.stmt) -> bool:
        call = step.value if isinstance(step, ast.Expr) else None
        if not isinstance(call, ast.Call):
            return False
        if not all(map(_is_pure, (*call.args, *(each.value for each in call.keywords)))):
            return False
        if isinstance(call.func, ast.Name):
            return call.func.id == "print" and "print" not in self._function.__globals__
        if not isinstance(call.func, ast.Attribute) or call.func.attr not in _LEVELS:
            return False
        owner = call.func.value
        known = self._function.__globals__.get(owner.id) if isinstance(owner, ast.Name) else None
        return known is logging or isinstance(known, logging.Logger)

    def _counts(self, step: ast.stmt) -> bool:
        """Return whether it sets a number that nothing reads."""
        if isinstance(step, ast.AugAssign):
            targets: list[ast.expr] = [step.target]
        elif isinstance(step, ast.Assign):
            targets = step.targets
            if not isinstance(step.value, ast.Constant):
                return False
        else:
            return False
        names = [each.id for each in targets if isinstance(each, ast.Name)]
        assert isinstance(step.value, ast.expr)
        return len(names) == len(targets) and not {*names} & self._loaded and _is_pure(step.value)


def _is_nothing(body: Sequence[ast.stmt]) -> bool:
    return all(isinstance(each, ast.Pass) for each in body)


def _is_pure(node: ast.expr) -> bool:
    """Return whether an expression calls nothing that could write."""
    calls = [each for each in ast.walk(node) if isinstance(each, ast.Call)]
    forbidden = ast.Await | ast.NamedExpr | ast.Yield | ast.YieldFrom
    return all(isinstance(e.func, ast.Name) and e.func.id in _PURE for e in calls) and not any(
        isinstance(each, forbidden) for each in ast.walk(node)
    )
