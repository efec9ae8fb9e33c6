"""Advice as code: migrations that can be pasted, with the names of the one that was rehearsed.

What only the author knows (a bound, a value) is written ``...``, so that the code is Python.
"""

from __future__ import annotations

import json
import re
from textwrap import indent
from typing import Any

from django.apps import apps
from django.contrib.postgres import operations as postgres_operations
from django.db.migrations.operations.base import Operation
from django.db.migrations.writer import MigrationWriter, OperationWriter

from django_confiture.dry_run.findings.advice.wrapping import wrapped

_4 = "    "
_WIDTH = 48
"""Columns of a string in the code, so that the report needs no more than 80."""
_NOOP = "migrations.RunSQL.noop"
_POSTGRES = "django.contrib.postgres.operations"
_POSTGRES_NAMES = [
    name
    for name, value in vars(postgres_operations).items()
    if getattr(value, "__module__", None) == _POSTGRES
]
_QUALIFIED = re.compile(r"(?<![\w.\"'])([a-z_]\w*(?:\.[a-z_]\w*)+)\.([A-Z]\w*)\b")
_IN_MIGRATION_FILE = re.compile(r"[\w.]+\.\d\w*\.(\w+)")


def operation(op: Operation) -> str:
    """Return an operation as it stands in a migration file."""
    try:
        lines, _imports = OperationWriter(op, indentation=0).serialize()
    except (ValueError, TypeError):
        return f"migrations.{type(op).__name__}(...),"
    text = lines.replace(f"{_POSTGRES}.", "").replace("django.db.models.deletion.", "models.")
    return wrapped(_IN_MIGRATION_FILE.sub(r"\1", text))


def changed(field: Any, **attributes: object) -> Any:
    """Return a copy of a model field with some of its attributes changed."""
    copied = field.clone()
    for name, value in attributes.items():
        setattr(copied, name, value)
    return copied


def value(given: object) -> str:
    """Return a value or an expression as it stands in a migration file."""
    text, _imports = MigrationWriter.serialize(given)
    return str(text)


def run_sql(forwards: str, backwards: str | None = None) -> str:
    """Return a RunSQL; without ``backwards`` it can't be taken back."""
    arguments = [_string(forwards)]
    if backwards is not None:
        arguments.append(backwards if backwards == _NOOP else _string(backwards))
    return "migrations.RunSQL(\n" + "".join(f"{indent(a, _4)},\n" for a in arguments) + "),"


def without_reverse(forwards: str) -> str:
    """Return a RunSQL that is taken back by doing nothing."""
    return run_sql(forwards, _NOOP)


def in_state(op: Operation | None, *database: str) -> str:
    """Return operations that the models see as ``op``, and the database as ``database``.

    A ``RunSQL`` or ``RunPython`` changes no models, so nothing needs to be wrapped for it.
    """
    if op is None or not changes_models(op):
        return "\n".join(database)
    lines = [f"{_4}state_operations=[", indent(operation(op), _4 * 2), f"{_4}],"]
    if database:
        lines += [f"{_4}database_operations=[", indent("\n".join(database), _4 * 2), f"{_4}],"]
    return "\n".join(["migrations.SeparateDatabaseAndState(", *lines, "),"])


def changes_models(op: Operation) -> bool:
    """Return whether an operation is one of those that ``makemigrations`` writes."""
    return hasattr(op, "model_name") or hasattr(op, "name")


def migration(*operations: str, atomic: bool = True, comment: str = "") -> str:
    """Return a migration's class."""
    lines = [f"# {comment}"] if comment else []
    lines.append("class Migration(migrations.Migration):")
    if not atomic:
        lines += [f"{_4}atomic = False", ""]
    lines += [f"{_4}operations = [", *(indent(each, _4 * 2) for each in operations), f"{_4}]"]
    return "\n".join(lines)


def migrations(*each: str) -> str:
    """Return several migrations, one after the other."""
    return "\n\n\n".join(each)


def comment(*lines: str) -> str:
    """Return advice for which there is no code."""
    return "\n".join(f"# {line}" for line in lines)


def batches(relation: str, change: str) -> str:
    """Return a function that changes a table's rows in batches; ``change`` is for ``update()``."""
    label = _model(relation)
    if label is None:
        return comment(
            f"Write {relation} in batches by its primary key, each in a transaction of its",
            "own: atomic = False in the migration.",
        )
    app, model = label
    return (
        "def fill(apps, schema_editor):\n"
        f'    model = apps.get_model("{app}", "{model}")\n'
        "    rows = model.objects.using(schema_editor.connection.alias)\n"
        '    keys = rows.order_by("pk").values_list("pk", flat=True)\n'
        "    last = None\n"
        "    while True:\n"
        "        rest = keys if last is None else keys.filter(pk__gt=last)\n"
        "        batch = list(rest[:5_000])\n"
        "        if not batch:\n"
        "            break\n"
        "        some = rows.filter(pk__in=batch)\n" + wrapped(f"        some.{change}") + "\n"
        "        last = batch[-1]"
    )


def fills(relation: str, comment: str = "Each batch commits by itself") -> str:
    """Return the migration that calls the function of :func:`batches`."""
    function = "fill" if _model(relation) is not None else "..."
    call = f"migrations.RunPython({function}, migrations.RunPython.noop, elidable=True),"
    return migration(wrapped(call), atomic=False, comment=comment)


def with_imports(text: str) -> str:
    """Return code with the imports that it needs in front."""
    if "migrations." not in text:
        return text
    imports = {name: _POSTGRES for name in _POSTGRES_NAMES if re.search(rf"\b{name}\(", text)}
    imports.update({name: module for module, name in _QUALIFIED.findall(text)})
    imports["migrations"] = "django.db"
    text = _QUALIFIED.sub(r"\2", text)
    if "models." in text:
        imports["models"] = "django.db"
    if re.search(r"\bF\(", text):
        imports["F"] = "django.db.models"
    lines = [
        _import(module, sorted(name for name, source in imports.items() if source == module))
        for module in sorted(set(imports.values()))
    ]
    return "\n".join(lines) + f"\n\n\n{text}"


def _import(module: str, names: list[str]) -> str:
    line = f"from {module} import {', '.join(names)}"
    if len(line) <= 72:
        return line
    return "\n".join([f"from {module} import (", *(f"{_4}{name}," for name in names), ")"])


def _model(relation: str) -> tuple[str, str] | None:
    for model in apps.get_models(include_auto_created=True):
        if model._meta.db_table == relation:
            return model._meta.app_label, model.__name__
    return None


def _string(sql: str) -> str:
    """Return SQL as Python strings that are joined, each on a line of its own."""
    pieces: list[str] = [""]
    for word in re.findall(r"\S+ ?|\s+", sql):
        for part in _parts(word):
            if pieces[-1] and len(pieces[-1]) + len(part) > _WIDTH:
                pieces.append("")
            pieces[-1] += part
    return "\n".join(_literal(piece) for piece in pieces)


def _parts(word: str) -> list[str]:
    """Return a word in parts that fit, each but the last up to an underscore."""
    cut = word.rfind("_", 0, _WIDTH) + 1
    return [word] if len(word) <= _WIDTH or not cut else [word[:cut], *_parts(word[cut:])]


def _literal(text: str) -> str:
    if '"' in text and "'" not in text and "\\" not in text and text.isprintable():
        return f"'{text}'"
    return json.dumps(text, ensure_ascii=False)
