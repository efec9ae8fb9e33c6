"""Which models and fields an operation is about, as its class tells."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from django.db.migrations import operations as ops
from django.db.migrations.operations.base import Operation
from django.db.migrations.operations.models import ModelOperation
from django.db.models import ForeignKey

if TYPE_CHECKING:
    from django.db.migrations.state import ModelState
    from django.db.models import Field


def models_of(operation: Operation) -> tuple[str, str]:
    """Return the lower-case names of the model before and after; ``""`` where there is none."""
    if isinstance(operation, ops.RenameModel):
        return operation.old_name_lower, operation.new_name_lower
    name = getattr(operation, "model_name", None)
    if name is None and isinstance(operation, ModelOperation):
        name = operation.name
    lower = str(name or "").lower()
    return lower, lower


def fields_with_relations(
    operation: Operation, model: ModelState
) -> Iterator[tuple[str, Field[Any, Any]]]:
    """Yield the fields whose relations an operation makes, drops or renames."""
    if isinstance(operation, ops.CreateModel | ops.DeleteModel):
        yield from model.fields.items()
    elif isinstance(operation, ops.RenameModel | ops.AlterModelTable):
        yield from ((name, each) for name, each in model.fields.items() if each.many_to_many)
    elif isinstance(operation, ops.RenameField):
        names = (operation.old_name, operation.new_name)
        there = [(name, model.fields[name]) for name in names if name in model.fields]
        yield from ((name, each) for name, each in there if each.many_to_many)
    elif isinstance(operation, ops.AddField | ops.RemoveField | ops.AlterField):
        found = model.fields.get(operation.name)
        if found is not None:
            yield operation.name, found


def in_database(each: Field[Any, Any]) -> tuple[Any, ...]:
    """Return the parts of a field's definition that the database knows."""
    _name, path, args, given = each.deconstruct()
    known = {key: value for key, value in given.items() if key not in each.non_db_attrs}
    return path, args, known, given.get("db_column")


def reaches_referrers(operation: Operation, model: ModelState) -> bool:
    """Return whether the operation alters foreign keys of other tables, too."""
    if isinstance(operation, ops.RenameModel | ops.DeleteModel):
        return True
    if not isinstance(operation, ops.AlterField):
        return False
    altered = model.fields.get(operation.name)
    return altered is not None and (altered.primary_key or altered.unique)


def column_name(name: str, each: Field[Any, Any]) -> str:
    """Return the column behind a field."""
    return each.db_column or (f"{name}_id" if isinstance(each, ForeignKey) else name)
