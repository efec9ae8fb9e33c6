"""Where a migration stopped, what is left of one that is not atomic, and the way on."""

from __future__ import annotations

import inspect
import traceback
from collections.abc import Iterable
from typing import Any

from django.db.migrations.migration import Migration

_RESUMES = (
    "It is not atomic, so what it had done is committed. Run migrate again; it goes on at the "
    "first operation that was not done."
)
_STRANDS = (
    "It is not atomic, so what it had done is committed, and migrate would begin it again at its "
    'first operation. Look at what is there; with CONFITURE["MIGRATE"]["RESUME"] = True and '
    "django_confiture.history, migrate goes on by itself the next time."
)
_APPLYING = (Migration.apply.__code__, Migration.unapply.__code__)


def left_without_transaction(*, resumes: bool) -> str:
    """Return what is left of a migration that is not atomic, and the way on."""
    return _RESUMES if resumes else _STRANDS


def operation_at(errors: Iterable[BaseException], migration: Migration) -> str:
    """Return a sentence on the operation that ran, which only Django's own loop knows.

    ``errors`` are one error and those that it was raised from.
    """
    for each in errors:
        for frame, _line in traceback.walk_tb(each.__traceback__):
            if frame.f_code in _APPLYING and frame.f_locals.get("self") is migration:
                operation = frame.f_locals.get("operation")
                if operation is not None and not inspect.isclass(operation):
                    return f"It was in operation {_operation_named(operation, migration)}."
    return ""


def _operation_named(operation: Any, migration: Migration) -> str:
    """Return an operation's number, counted from 1, and what it does.

    One that is journaled is wrapped while it runs.
    """
    plain = getattr(operation, "plain", operation)
    numbers = (n for n, each in enumerate(migration.operations, 1) if each is plain)
    return ", ".join([*map(str, numbers), operation.describe()])
