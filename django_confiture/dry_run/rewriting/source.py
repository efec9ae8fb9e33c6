"""Writes the source of migration files with Django's own writer."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from django.db.migrations import RunPython
from django.db.migrations.migration import Migration
from django.db.migrations.writer import MigrationWriter

from django_confiture.dry_run.rewriting.files import (
    OF_THIS_FILE,
    Batches,
    CodeInBatches,
    Fill,
    NullFill,
    NumbersInPlace,
    RewrittenFile,
)
from django_confiture.dry_run.rewriting.imports import with_sorted_imports
from django_confiture.dry_run.sql.parsing.identifiers import quote_literal
from django_confiture.silencing import COMPLETED_BY

_SHORTER = (
    (f"import {OF_THIS_FILE}\n", ""),
    (f"{OF_THIS_FILE}.", ""),
    ("import django.db.migrations.operations.special\n", ""),
    ("django.db.migrations.operations.special.RunPython", "migrations.RunPython"),
    ("reverse_sql='',", "reverse_sql=migrations.RunSQL.noop,"),
)
_HEAD = "class Migration(migrations.Migration):\n"
_NO_DEPENDENCIES = "    dependencies = [\n    ]\n\n"
_WRITTEN = {"from django.db import migrations"}
_NULLS = """\
def fill(apps, schema_editor):
    using = schema_editor.connection.alias
    model = apps.get_model({app_label!r}, {model!r})
    rows = model._base_manager.using(using).filter({field}__isnull=True)
    value = {value}
    last = None
    while True:
        rest = rows if last is None else rows.filter(pk__gt=last)
        keys = rest.order_by("pk").values_list("pk", flat=True)[:5000]
        batch = list(keys)
        if not batch:
            return
        rows.filter(pk__in=batch).update({field}=value)
        last = batch[-1]
"""
_OWN = """\
def fill(apps, schema_editor):
    using = schema_editor.connection.alias
    model = apps.get_model({app_label!r}, {model!r})
    rows = model._base_manager.using(using).filter({field}__isnull=True)
    last = None
    while True:
        rest = rows if last is None else rows.filter(pk__gt=last)
        batch = list(rest.order_by("pk").only("pk")[:1000])
        if not batch:
            return
        for row in batch:
            row.{field} = {value}
        rows.bulk_update(batch, [{field!r}])
        last = batch[-1].pk
"""
_BATCHES = """\
def in_batches(apps, schema_editor):
    first = ({first})
    more = ({more})
    change = ({change})
    with schema_editor.connection.cursor() as cursor:
        cursor.execute(first)
        while keys := [key for (key,) in cursor.fetchall()]:
            cursor.execute(change, {{"low": keys[0], "high": keys[-1]}})
            cursor.execute(more, {{"last": keys[-1]}})
"""
_IN_PLACE = """\
def in_batches(apps, schema_editor):
    pages = ({pages})
    change = ({change})
    with schema_editor.connection.cursor() as cursor:
        cursor.execute(pages)
        ((end,),) = cursor.fetchall()
        for low in range(0, end, 100):
            cursor.execute(change, {{"low": f"({{low}},0)", "high": f"({{low + 100}},0)"}})
"""


def snippet(files: Iterable[RewrittenFile]) -> str:
    """Return all files of an operation, one below the other, each with what it imports.

    Raises ``ValueError`` for what Django's writer can't write, such as a lambda, or can only name
    by a module that no source can import: a function of a migration's file.
    """
    sources = [
        file_source(each, (), above="" if number == 0 else "The next migration. ").strip()
        for number, each in enumerate(files)
    ]
    try:
        return "\n\n\n".join(with_sorted_imports(each).strip() for each in sources)
    except SyntaxError as error:
        raise ValueError("it needs a function of a migration's file") from error


def file_source(
    file: RewrittenFile,
    dependencies: Sequence[tuple[str, str]],
    *,
    above: str = "",
    run_before: Sequence[tuple[str, str]] = (),
    completed_by: str = "",
) -> str:
    """Return the source of one file, its imports as they come.

    ``above`` goes in front of the comment that says why; ``completed_by`` is the migration of the
    next release until which the models differ.
    """
    operations = list(file.operations)
    functions, imports = _functions(file.fill)
    functions += f"{file.above}\n\n" if file.above else ""
    if file.fill is not None:
        operations.insert(0, _run_python(file.fill))
    made = type("Migration", (Migration,), {"operations": operations})("0001_made", "made")
    made.dependencies = list(dependencies)
    source = MigrationWriter(made, include_header=False).as_string()
    for written, short in _SHORTER:
        source = source.replace(written, short)
    settings = "" if file.atomic else "\n    atomic = False\n"
    if run_before:
        settings += f"\n    run_before = {list(run_before)!r}\n"
    if completed_by:
        settings += f"\n    {COMPLETED_BY} = {completed_by!r}\n"
    comment = f"# {above}{file.why}\n" if above or file.why else ""
    source = source.replace(_HEAD, f"{functions}{comment}{_HEAD}{settings}", 1)
    source = _tidied(source if dependencies else source.replace(_NO_DEPENDENCIES, ""))
    lines = source.splitlines()
    more = "".join(f"{each}\n" for each in sorted(imports) if each not in lines)
    return more + source


def _run_python(fill: Fill) -> RunPython:
    name = _function_name_of(fill)
    code: Any = RunPython.noop if name is None else _placeholder(name)
    hints = dict(fill.hints or {}) or None
    if isinstance(fill, NullFill):
        return RunPython(code, RunPython.noop, hints=hints, elidable=True)
    back: Any = RunPython.noop if fill.reversible else None
    if isinstance(fill, CodeInBatches) and fill.back is not None:
        back = _placeholder(fill.back)
    return RunPython(code, back, hints=hints, elidable=fill.elidable)


def _function_name_of(fill: Fill) -> str | None:
    if isinstance(fill, CodeInBatches):
        return fill.name
    return "fill" if isinstance(fill, NullFill) else "in_batches"


def _placeholder(name: str) -> Callable[[object, object], None]:
    def function(_apps: object, _schema_editor: object) -> None:
        raise NotImplementedError

    function.__module__, function.__qualname__ = OF_THIS_FILE, name
    return function


def _functions(fill: Fill | None) -> tuple[str, set[str]]:
    if fill is None:
        return "", set()
    if isinstance(fill, Batches):
        return f"{_batches(fill)}\n\n", set()
    if isinstance(fill, NumbersInPlace):
        return f"{_numbers(fill)}\n\n", set()
    if isinstance(fill, CodeInBatches):
        imports = {each for each in fill.globals if each.startswith(("from ", "import "))}
        constants = "".join(f"{each}\n" for each in fill.globals if each not in imports)
        return f"{constants}\n\n{fill.source}\n\n", imports - _WRITTEN
    value, imports = MigrationWriter.serialize(fill.value)
    if callable(fill.value):
        value += "()"
    source = (_OWN if fill.own else _NULLS).format(
        app_label=fill.app_label, model=fill.model, field=fill.field, value=value
    )
    return f"{source}\n\n", set(imports)


def _batches(fill: Batches) -> str:
    rest = f"ORDER BY {fill.key} LIMIT 5000"
    first = f"SELECT {fill.key} FROM {fill.table} {rest}"
    doubled, key = (
        text.replace("%", "%%") for text in (f"SELECT {fill.key} FROM {fill.table}", fill.key)
    )
    more = f"{doubled} WHERE {key} > %(last)s {rest.replace('%', '%%')}"
    return _BATCHES.format(
        first=_literal(first), more=_literal(more), change=_literal(fill.statement)
    )


def _numbers(fill: NumbersInPlace) -> str:
    size = f"pg_relation_size({quote_literal(fill.table)})"
    pages = f"SELECT {size} / current_setting('block_size')::integer"
    return _IN_PLACE.format(pages=_literal(pages), change=_literal(fill.statement))


def _literal(text: str) -> str:
    """Return a text as Python's literals of which none is too long for a line."""
    pieces = textwrap.wrap(
        text, 70, drop_whitespace=False, replace_whitespace=False, expand_tabs=False,
        break_long_words=False, break_on_hyphens=False,
    )  # fmt: skip
    return ("\n" + " " * 12).join(map(repr, pieces))


def _tidied(source: str) -> str:
    """Return the source with the blank lines that a formatter would leave."""
    return re.sub(r"(class Migration\(.*\):\n)\n+", r"\1", re.sub(r"\n{4,}", "\n\n\n", source))
