"""The constants of an ``update()``, put where its UPDATE has parameters: what it does by them."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator
from types import FunctionType
from typing import Any

from django.db.models import Case, F, Q, Value, When
from django.db.models.expressions import BaseExpression, Func

from django_confiture.dry_run.rewriting.data.functions import constant
from django_confiture.dry_run.rewriting.data.updates import Update
from django_confiture.dry_run.sql.parsing.identifiers import quote_literal
from django_confiture.dry_run.sql.parsing.parser import Statement, parse

_DJANGOS = "django.db.models."
_PLACEHOLDER = "%s"


class _Unknown(Exception):  # noqa: N818 - it says that a value is not known, not that one failed
    """Raised for a value whose parameters are not known."""


def with_constants(statement: Statement, update: Update, function: FunctionType) -> Statement:
    """Return the UPDATE with the constants that its columns are set to; as it is where unsure.

    Django sends them in the order in which they stand in the code, before those of the condition.
    """
    try:
        texts = [text for each in update.call.keywords for text in _of_value(each.value, function)]
    except (_Unknown, TypeError, ValueError):
        return statement
    first, *rest = statement.sql.split(_PLACEHOLDER)
    setting = first if not rest else _PLACEHOLDER.join([first, *rest]).partition(" WHERE ")[0]
    if setting.count(_PLACEHOLDER) != len(texts):
        return statement
    filled = first + "".join(f"{text}{part}" for text, part in zip(texts, rest, strict=False))
    sql = _PLACEHOLDER.join([filled, *rest[len(texts) :]])
    (read, *more) = parse(sql, placeholders=True)
    return statement if more or read.what != statement.what else read


def _of_value(node: ast.expr, function: FunctionType) -> Iterator[str]:
    value = _built(node, function)
    if isinstance(value, BaseExpression | F):
        yield from _of_expression(value)
    elif value is not None:
        yield _literal(value)


def _built(node: ast.expr, function: FunctionType) -> Any:
    """Return the object that an expression of Django's makes, or a constant."""
    if not isinstance(node, ast.Call):
        return constant(node, function)
    made = _class_of(node.func, function)
    args = [_built(each, function) for each in node.args]
    if any(each.arg is None for each in node.keywords):
        raise _Unknown
    return made(*args, **{each.arg or "": _built(each.value, function) for each in node.keywords})


def _class_of(node: ast.expr, function: FunctionType) -> Callable[..., Any]:
    """Return the class of Django's that a name stands for."""
    if isinstance(node, ast.Name):
        found = function.__globals__.get(node.id)
    elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
        found = getattr(function.__globals__.get(node.value.id), node.attr, None)
    else:
        raise _Unknown
    if not isinstance(found, type) or not found.__module__.startswith(_DJANGOS):
        raise _Unknown
    return found


def _of_expression(value: Any) -> Iterator[str]:
    """Yield the constants of an expression as literals, in the order of its SQL."""
    if isinstance(value, Value):
        if value.value is not None:
            yield _literal(value.value)
    elif isinstance(value, When):
        yield from _of_condition(value.condition)
        yield from _of_expression(value.result)
    elif isinstance(value, Case | Func):
        for each in value.get_source_expressions():
            yield from _of_expression(each)
    elif not isinstance(value, F):
        raise _Unknown


def _of_condition(condition: Any) -> Iterator[str]:
    """Yield the constants of a condition on one field: that it is a value, or one of some."""
    if not isinstance(condition, Q) or condition.negated or len(condition.children) != 1:
        raise _Unknown
    (child,) = condition.children
    if not isinstance(child, tuple):
        raise _Unknown
    name, value = child
    _field, _, lookup = name.partition("__")
    if lookup not in ("", "exact", "in") or value is None:
        raise _Unknown
    yield from map(_literal, value if lookup == "in" else [value])


def _literal(value: Any) -> str:
    if type(value) is str:
        return quote_literal(value).replace("%", "%%")
    if type(value) is int:
        return str(value)
    raise _Unknown
