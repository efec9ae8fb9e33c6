"""Makes a RunPython that is one ``queryset.update()`` batches that commit one by one."""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections.abc import Iterator, Sequence
from types import FunctionType, ModuleType
from typing import Any

from django.db.migrations import RunPython

from django_confiture.dry_run.rewriting.batching import key_to_go_by
from django_confiture.dry_run.rewriting.facts import Facts
from django_confiture.dry_run.rewriting.files import NoRecipe, RewrittenFile, UpdateInBatches
from django_confiture.dry_run.rewriting.parts.parts import WHAT, WHY, Phase
from django_confiture.dry_run.sql.parsing.parser import Kind, Statement

_CHAIN = {"all", "exclude", "filter", "objects", "using", "_base_manager", "_default_manager"}
_OWN = {"batch", "last", "rest", "rows", "values"}
"""The names that the batches need."""
_UNREADABLE = "the source of its code can't be read"


def file_of_update(
    operation: RunPython, statements: Sequence[Statement], facts: Facts
) -> RewrittenFile:
    """Return the file with the batches; raises :class:`NoRecipe` where the code does more."""
    writing = [each for each in statements if each.kind not in (Kind.SELECT, Kind.QUIET)]
    if [each.what for each in writing] != ["update_stmt"]:
        raise NoRecipe("its code does more than one UPDATE")
    key_to_go_by(writing[0], facts)
    if operation.atomic:
        raise NoRecipe("its code has its own transaction")
    function = _plain(operation.code)
    node = _source(function)
    name, source = _rewritten(node)
    lines = {*_globals(node, function)}
    back = None
    if operation.reverse_code not in (None, RunPython.noop):
        back, text, more = _way_back(operation.reverse_code, function)
        source, lines = f"{source}\n\n{text}", lines | more
    fill = UpdateInBatches(
        name,
        source,
        globals=tuple(sorted(lines)),
        reversible=operation.reverse_code is not None,
        back=back,
        elidable=operation.elidable,
        hints=operation.hints or None,
    )
    return RewrittenFile(WHAT[Phase.FILL], WHY[Phase.FILL], atomic=False, fill=fill)


def _way_back(back: object, function: FunctionType) -> tuple[str, str, set[str]]:
    """Return name, source and globals of the way back, as it is: one statement, or nothing.

    In a migration that is not atomic, several statements would be several transactions.
    """
    back = _plain(back)
    node = _source(back)
    if back.__module__ != function.__module__ or back.__name__ == function.__name__:
        raise NoRecipe("its way back is the same function, or one of another module")
    if not all(isinstance(each, ast.Pass) for each in _body(node)):
        _parts_of(node, "its way back is more than one queryset.update()")
    names = ", ".join(each.arg for each in node.args.args)  # annotations would need their imports
    body = "".join(f"{textwrap.indent(ast.unparse(each), '    ')}\n" for each in node.body)
    return node.name, f"def {node.name}({names}):\n{body}", {*_globals(node, back)}


def _plain(function: object) -> FunctionType:
    if not isinstance(function, FunctionType) or function.__closure__:
        raise NoRecipe("its code is not a plain function")
    return function


def _source(function: FunctionType) -> ast.FunctionDef:
    try:
        (node,) = ast.parse(textwrap.dedent(inspect.getsource(function))).body
    except (OSError, SyntaxError, ValueError) as error:
        raise NoRecipe(_UNREADABLE) from error
    if not isinstance(node, ast.FunctionDef) or node.decorator_list or len(node.args.args) != 2:
        raise NoRecipe(_UNREADABLE)
    return node


def _body(node: ast.FunctionDef) -> list[ast.stmt]:
    """Return what a function does, its docstring apart."""
    return node.body[ast.get_docstring(node) is not None :]


def _parts_of(node: ast.FunctionDef, reason: str) -> tuple[Sequence[ast.stmt], ast.Call]:
    """Return what comes before the only update, and that; raises :class:`NoRecipe` for others."""
    *before, last = _body(node) or [ast.Pass()]
    plain = all(isinstance(each, ast.Assign) and _is_lookup(each.value) for each in before)
    call = last.value if isinstance(last, ast.Expr) else None
    if not (plain and isinstance(call, ast.Call) and _is_update(call)):
        raise NoRecipe(reason)
    return before, call


def _rewritten(node: ast.FunctionDef) -> tuple[str, str]:
    """Return the function's name, and its source with a loop in place of the update."""
    reason = "its code is more than one queryset.update()"
    before, call = _parts_of(node, reason)
    if _OWN & {each.id for each in ast.walk(node) if isinstance(each, ast.Name)}:
        raise NoRecipe(reason)
    assert isinstance(call.func, ast.Attribute)
    values = ", ".join(map(ast.unparse, call.keywords))
    lines = [
        f"def {node.name}({', '.join(each.arg for each in node.args.args)}):",
        *(f"    {ast.unparse(each)}" for each in before),
        f"    rows = {ast.unparse(call.func.value)}",
        f"    values = dict({values})",
        "    last = None",
        "    while True:",
        "        rest = rows if last is None else rows.filter(pk__gt=last)",
        '        batch = list(rest.order_by("pk").values_list("pk", flat=True)[:5000])',
        "        if not batch:",
        "            return",
        "        rows.filter(pk__in=batch).update(**values)",
        "        last = batch[-1]",
    ]
    return node.name, "\n".join(lines) + "\n"


def _is_lookup(node: ast.expr) -> bool:
    """Return whether it is a model, or the connection's alias."""
    text = ast.unparse(node)
    return text.endswith(".connection.alias") or (
        isinstance(node, ast.Call) and ast.unparse(node.func).endswith(".get_model")
    )


def _is_update(call: ast.Call) -> bool:
    """Return whether it is ``model.objects.filter(...).update(...)`` or the like."""
    if call.args or not isinstance(call.func, ast.Attribute) or call.func.attr != "update":
        return False
    node: ast.expr = call.func.value
    while isinstance(node, ast.Call | ast.Attribute):
        if isinstance(node, ast.Call) and _is_lookup(node):
            return True
        inner = node.func if isinstance(node, ast.Call) else node
        if not isinstance(inner, ast.Attribute) or inner.attr not in _CHAIN:
            return False
        node = inner.value
    return isinstance(node, ast.Name)


def _globals(node: ast.FunctionDef, function: FunctionType) -> Iterator[str]:
    """Yield the line that defines each name of a function's module that its body uses."""
    names = [each for part in node.body for each in ast.walk(part) if isinstance(each, ast.Name)]
    own = {each.id for each in names if isinstance(each.ctx, ast.Store)}
    own.update(each.arg for each in node.args.args)
    for name in sorted({each.id for each in names} - own):
        if name in function.__globals__:
            yield _definition(name, function.__globals__[name])


def _definition(name: str, value: Any) -> str:
    if isinstance(value, ModuleType):
        package, _, last = value.__name__.rpartition(".")
        known = f"from {package} import {last}" if package else f"import {last}"
        return known if last == name else f"{known} as {name}"
    if value is None or isinstance(value, bool | float | int | str):
        return f"{name} = {value!r}"
    if getattr(value, "__qualname__", None) == name:
        module = value.__module__
        if module and "migrations" not in module.split(".")[:-1]:
            return f"from {module} import {name}"
    raise NoRecipe(f"its code needs {name}")
