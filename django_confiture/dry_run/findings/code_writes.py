"""Which models a migration's Python code writes rows of, as far as its source says."""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import FunctionType
from typing import Literal

from django.db.migrations import RunPython

_INSERTS = frozenset({"create", "bulk_create", "get_or_create", "update_or_create"})
_DELETES = frozenset({"delete", "_raw_delete"})
_DEEPEST = 3
"""How many functions of the migration's file may lie between."""

Written = Literal["insert", "update", "delete"]

SENT: Mapping[str, Written] = {
    "insert_stmt": "insert",
    "copy_stmt": "insert",
    "update_stmt": "update",
    "delete_stmt": "delete",
}
"""Statement → how it writes rows."""

Model = tuple[str, str]
"""App label and name of a model, in lower case."""


@dataclass(frozen=True)
class CodeWrite:
    """One way in which code writes rows of a model."""

    model: Model
    what: Written
    attribute: str = ""
    """The one that an update sets."""


@dataclass(frozen=True)
class PlannedCode:
    """The code of one migration's operations, in the direction in which it ran."""

    app_label: str
    forward: bool

    def writes(self, operation: RunPython) -> Sequence[CodeWrite]:
        """Return how an operation writes rows of models, each way once."""
        code = operation.code if self.forward else operation.reverse_code
        return tuple(dict.fromkeys(_writes_of(code, self.app_label)))


def _writes_of(function: object, app_label: str, depth: int = 0) -> Iterator[CodeWrite]:
    """Yield how a function, and those of its module that it calls, write rows of models."""
    if not isinstance(function, FunctionType) or depth > _DEEPEST:
        return
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(function)))
    except (OSError, SyntaxError):
        return
    reading = _Reading(tree, app_label)
    yield from reading.writes()
    names = {each.id for each in ast.walk(tree) if isinstance(each, ast.Name)}
    for name in sorted(names - {function.__name__}):
        called = function.__globals__.get(name)
        if getattr(called, "__module__", None) == function.__module__:
            yield from _writes_of(called, app_label, depth + 1)


class _Reading:
    """What the names of one function stand for: models, and rows of models."""

    def __init__(self, tree: ast.AST, app_label: str) -> None:
        self._nodes = list(ast.walk(tree))
        self._app_label = app_label
        self._models: dict[str, Model] = {}
        self._rows: dict[str, Model] = {}
        for node in self._nodes:
            if isinstance(node, ast.Assign):
                self._note_assigned(node)
        for node in self._nodes:
            if isinstance(node, ast.For | ast.comprehension) and isinstance(node.target, ast.Name):
                self._note_row(node.target.id, node.iter)

    def writes(self) -> Iterator[CodeWrite]:
        for node in self._nodes:
            if isinstance(node, ast.Call):
                yield from self._of_call(node)
            elif isinstance(node, ast.Assign):
                for target in node.targets:
                    yield from self._of_attribute(target)

    def _note_assigned(self, node: ast.Assign) -> None:
        for target in node.targets:
            pairs = [(target, node.value)]
            if isinstance(target, ast.Tuple) and isinstance(node.value, ast.Tuple):
                pairs = list(zip(target.elts, node.value.elts, strict=False))
            for name, value in pairs:
                if not isinstance(name, ast.Name):
                    continue
                if (model := self._looked_up(value)) is not None:
                    self._models[name.id] = model
                else:
                    self._note_row(name.id, value)

    def _note_row(self, name: str, value: ast.expr) -> None:
        if (model := self._root(value)) is not None:
            self._rows.setdefault(name, model)

    def _looked_up(self, node: ast.AST) -> Model | None:
        """Return the model that ``apps.get_model(...)`` gives."""
        if not isinstance(node, ast.Call) or not ast.unparse(node.func).endswith("get_model"):
            return None
        given = [*node.args, *(each.value for each in node.keywords)]
        names = [each.value for each in given if isinstance(each, ast.Constant)]
        label = ".".join(map(str, names)).lower().split(".")
        if len(label) == 1:
            label = [self._app_label, *label]
        return (label[0], label[1]) if len(label) == 2 else None

    def _root(self, node: ast.AST) -> Model | None:
        """Return the model that a chain of attributes and calls begins with."""
        while (model := self._looked_up(node)) is None:
            if isinstance(node, ast.Attribute | ast.Subscript):
                node = node.value
            elif isinstance(node, ast.Call):
                node = node.func
            else:
                break
        if model is None and isinstance(node, ast.Name):
            model = self._models.get(node.id)
        return model

    def _of_call(self, call: ast.Call) -> Iterator[CodeWrite]:
        if not isinstance(call.func, ast.Attribute):
            made = self._models.get(call.func.id) if isinstance(call.func, ast.Name) else None
            if made is not None:
                yield CodeWrite(made, "insert")
            return
        name, value = call.func.attr, call.func.value
        model = self._root(value)
        if model is None and isinstance(value, ast.Name):
            model = self._rows.get(value.id)
        if model is None:
            return
        if name in _INSERTS:
            yield CodeWrite(model, "insert")
        elif name in _DELETES:
            yield CodeWrite(model, "delete")
        elif name == "update":
            for each in call.keywords:
                yield CodeWrite(model, "update", each.arg or "")

    def _of_attribute(self, target: ast.expr) -> Iterator[CodeWrite]:
        if isinstance(target, ast.Attribute) and isinstance(target.value, ast.Name):
            model = self._rows.get(target.value.id)
            if model is not None:
                yield CodeWrite(model, "update", target.attr)
