"""Splits an operation into steps, and tells which of them can run in a transaction."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from django.contrib.postgres.operations import NotInTransactionMixin, ValidateConstraint
from django.db.migrations.operations import RunPython, RunSQL, SeparateDatabaseAndState

from django_confiture.migrate.patient_statements import (
    is_concurrent,
)
from django_confiture.migrate.pending_detach import Detach, detach_in
from django_confiture.operations import RunHook
from django_confiture.sql_text import first_word, without_leading_comments

if TYPE_CHECKING:
    from django.db.backends.base.schema import BaseDatabaseSchemaEditor
    from django.db.migrations.operations.base import Operation
    from django.db.migrations.state import ProjectState

ALWAYS, NEVER, TRY = "always", "never", "try"
"""Whether a step runs in its own transaction; where that has to be tried, it is undone if
PostgreSQL refuses."""


@dataclass(frozen=True)
class ResumableStep:
    """A part of an operation, and the states around it."""

    operation: Operation
    before: ProjectState
    after: ProjectState
    in_transaction: str
    names: str
    """A text that names the indexes that it builds, rebuilds or drops."""
    verb: str
    """``create``, ``drop``, or empty: what it does to them CONCURRENTLY."""
    detach: Detach | None = None
    """The partition that it detaches CONCURRENTLY."""

    def run(self, app_label: str, editor: BaseDatabaseSchemaEditor) -> None:
        """Run this part of the operation on the database."""
        self.operation.database_forwards(app_label, editor, self.before, self.after)


def steps_of(
    operation: Operation,
    app_label: str,
    editor: BaseDatabaseSchemaEditor,
    states: tuple[ProjectState, ProjectState],
) -> Iterator[ResumableStep]:
    """Yield the steps of an operation, in order."""
    before, after = states
    if type(operation) is SeparateDatabaseAndState:
        for nested in operation.database_operations:
            after = before.clone()
            nested.state_forwards(app_label, after)
            yield from steps_of(nested, app_label, editor, (before, after))
            before = after
    elif type(operation) is RunSQL:
        statements = operation.sql if isinstance(operation.sql, list | tuple) else [operation.sql]
        for statement in statements:
            yield _sql_step(operation, statement, states)
    else:
        names, verb = _index_of(operation)
        yield ResumableStep(
            operation, before, after, _in_transaction(operation, editor), names, verb
        )


def _sql_step(
    operation: RunSQL, statement: Any, states: tuple[ProjectState, ProjectState]
) -> ResumableStep:
    text = statement if isinstance(statement, str) else str(statement[0])
    concurrent = is_concurrent(text)
    part = RunSQL([statement], hints=operation.hints)
    verb = ""
    if concurrent:
        word = first_word(text).lower()
        verb = word if word in ("create", "drop") else ""
    detach = detach_in(without_leading_comments(text))
    return ResumableStep(
        part,
        *states,
        NEVER if concurrent or detach else TRY,
        text if concurrent else "",
        verb,
        detach,
    )


def _index_of(operation: Operation) -> tuple[str, str]:
    if isinstance(operation, NotInTransactionMixin):
        if (index := getattr(operation, "index", None)) is not None:
            return str(index.name), "create"
        return str(getattr(operation, "name", "")), "drop"
    return "", ""


def _in_transaction(operation: Operation, editor: BaseDatabaseSchemaEditor) -> str:
    """Return whether it can run in a transaction: Django's own schema operations are known to."""
    if isinstance(operation, RunPython):
        return ALWAYS if operation.atomic else NEVER
    if isinstance(operation, NotInTransactionMixin | ValidateConstraint):
        return NEVER
    ours = isinstance(operation, RunHook)
    known = type(operation).__module__.startswith("django.")
    usual_editor = type(editor).__module__.startswith("django.")
    return ALWAYS if ours or (known and usual_editor) else NEVER
