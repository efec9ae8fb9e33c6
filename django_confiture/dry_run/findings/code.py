"""Advice as code: migrations that can be pasted, with the names of the one that was rehearsed."""

from __future__ import annotations

import json
from collections.abc import Iterable
from textwrap import indent
from typing import Any

from django.apps import apps
from django.db.migrations.operations.base import Operation
from django.db.migrations.writer import OperationWriter

_WIDTH = 54
"""Columns of a string in the code, so that the report needs no more than 80."""


def operation(op: Operation) -> str:
    """Return an operation as it stands in a migration file."""
    lines, _imports = OperationWriter(op, indentation=0).serialize()
    text: str = lines.replace("django.contrib.postgres.operations.", "")
    return text.replace("django.db.models.deletion.", "models.")


def run_sql(forwards: str, backwards: str | None = None) -> str:
    """Return a RunSQL; without ``backwards`` it can't be taken back."""
    arguments = [_string(forwards)]
    if backwards is not None:
        arguments.append(backwards if backwards == _NOOP else _string(backwards))
    return "migrations.RunSQL(\n" + "".join(f"{indent(a, _4)},\n" for a in arguments) + "),"


def without_reverse(forwards: str) -> str:
    """Return a RunSQL that is taken back by doing nothing."""
    return run_sql(forwards, _NOOP)


_NOOP = "migrations.RunSQL.noop"
_4 = "    "


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
    """Say whether an operation is one of those that ``makemigrations`` writes."""
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
            f"Write {relation} in batches by its primary key, each in a transaction",
            "of its own: atomic = False, and RunPython(fill, atomic=False).",
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
        f"        rows.filter(pk__in=batch).{change}\n"
        "        last = batch[-1]"
    )


def fills(comment: str = "each batch commits by itself") -> str:
    """Return the migration that calls the function of :func:`batches`."""
    return migration(
        "migrations.RunPython(fill, migrations.RunPython.noop, elidable=True),",
        atomic=False,
        comment=comment,
    )


def _model(relation: str) -> tuple[str, str] | None:
    for model in apps.get_models(include_auto_created=True):
        if model._meta.db_table == relation:
            return model._meta.app_label, model.__name__
    return None


def _string(sql: str) -> str:
    """Return SQL as Python strings that are joined, each on a line of its own."""
    pieces: list[str] = [""]
    for word in sql.split(" "):
        if pieces[-1] and len(pieces[-1]) + len(word) > _WIDTH:
            pieces.append("")
        pieces[-1] += f"{word} "
    pieces[-1] = pieces[-1][:-1]
    return "\n".join(_literal(piece) for piece in pieces)


def _literal(text: str) -> str:
    if '"' in text and "'" not in text and "\\" not in text and text.isprintable():
        return f"'{text}'"
    return json.dumps(text, ensure_ascii=False)


def statements(lines: Iterable[Any]) -> str:
    """Return SQL statements as one RunSQL each, taken back by doing nothing."""
    return "\n".join(without_reverse(str(line)) for line in lines)
