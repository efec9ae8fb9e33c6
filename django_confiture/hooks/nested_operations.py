"""The operations of a migration, with those that other operations hold."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from django.db.migrations.operations.base import Operation


def walk_operations(operations: Iterable[Operation]) -> Iterable[Operation]:
    """Yield operations, each followed by the ``database_operations`` that it holds."""
    for operation in operations:
        yield operation
        yield from walk_operations(getattr(operation, "database_operations", ()))
