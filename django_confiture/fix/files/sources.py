"""Writes the files: by Django's writer, and in the authors' own words what they keep."""

from __future__ import annotations

import ast
import re
from collections.abc import Sequence
from dataclasses import dataclass

from django.apps import apps
from django.db.migrations.migration import Migration, SwappableTuple

from django_confiture.dry_run.rewriting.files import RewrittenFile
from django_confiture.dry_run.rewriting.imports import with_sorted_imports
from django_confiture.dry_run.rewriting.source import file_source
from django_confiture.fix.files.module_code import names_in
from django_confiture.fix.files.written_files import WrittenFile

_CLASS = "class Migration(migrations.Migration):"
_NO_OPERATIONS = "    operations = [\n    ]\n"
_TO_COPY = re.compile(r"\n+# Functions from the following migrations need(?:.*\n)+?(?=\n|class )")


@dataclass(frozen=True)
class Content:
    """What goes into one file: a file of a recipe, or operations that stay as they are."""

    origins: frozenset[int]
    """The indexes of the operations that it comes from."""
    file: RewrittenFile
    kept: tuple[int, ...] = ()
    """The operations that stay, by index; then they are the file's only ones."""


@dataclass(frozen=True)
class Place:
    """Where a file stands among the others."""

    dependencies: Sequence[tuple[str, str]]
    last: bool
    completed_by: str = ""
    """The migration of the next release that makes models and schema agree again."""


def source_of(
    content: Content, place: Place, migration: Migration, written: WrittenFile | None
) -> str:
    """Return the source of a file."""
    as_written = written is not None and len(written.operations) == len(migration.operations)
    file, operations = content.file, ""
    if content.kept and written is not None and as_written:
        file = RewrittenFile(file.what, file.why, (), file.atomic)
        operations = "".join(written.operation(index) for index in content.kept)
    source = file_source(
        file,
        [_dependency(each) for each in place.dependencies],
        run_before=migration.run_before if place.last else (),
        completed_by=place.completed_by,
    )
    source, names = _without_module(source, type(migration).__module__)
    if operations:
        source = source.replace(_NO_OPERATIONS, f"    operations = [\n{operations}    ]\n")
        names |= names_in(ast.parse(f"[{operations}]".replace("\n        ", "\n").strip()))
    if written is None:
        return _with_sorted_imports(source)
    if written.attributes:
        attributes = written.own_attributes()
        source = source.replace(f"{_CLASS}\n", f"{_CLASS}\n{attributes}\n", 1)
        for each in written.attributes:
            names |= names_in(each)
    source = _with_code(source, *written.needed_by(names))
    source = _with_sorted_imports(source)
    return f"{written.docstring}\n\n{source}" if place.last and written.docstring else source


def _dependency(each: tuple[str, str]) -> tuple[str, str]:
    if not isinstance(each, SwappableTuple):
        return each
    name = apps.get_swappable_settings_name(each.setting)
    return ("__setting__", name) if name else (each[0], each[1])


def _without_module(source: str, module: str) -> tuple[str, set[str]]:
    """Return a source that names the functions of the migration's file as its own, and them."""
    names = set(re.findall(rf"\b{re.escape(module)}\.(\w+)", source))
    source = _TO_COPY.sub("\n\n", source).replace(f"import {module}\n", "")
    return re.sub(rf"\b{re.escape(module)}\.(?=\w)", "", source), names


def _with_code(source: str, imports: Sequence[str], code: str) -> str:
    lines = source.splitlines(keepends=True)
    above = next(n for n, line in enumerate(lines) if line.startswith(_CLASS))
    while above and lines[above - 1].startswith("#"):
        above -= 1
    lines.insert(above, f"{code.strip()}\n\n\n" if code.strip() else "")
    head = "".join(f"{each}\n" for each in imports)
    return re.sub(r"\n{4,}", "\n\n\n", head + "".join(lines))


def _with_sorted_imports(source: str) -> str:
    """Leave a source as it is that names a function of another migration's file: it won't load."""
    try:
        return with_sorted_imports(source)
    except SyntaxError:
        return source
