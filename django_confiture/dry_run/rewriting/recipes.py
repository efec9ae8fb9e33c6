"""Recipes: which files an operation becomes, by its class and by its statements."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby

from django.contrib.postgres.operations import (
    AddConstraintNotValid,
    AddIndexConcurrently,
    RemoveIndexConcurrently,
    ValidateConstraint,
)
from django.db.migrations import (
    AddConstraint,
    AddField,
    AddIndex,
    AlterField,
    AlterUniqueTogether,
    RemoveIndex,
    SeparateDatabaseAndState,
)
from django.db.migrations.operations.base import Operation
from django.db.models import CheckConstraint

from django_confiture.dry_run.rewriting.files import (
    NotRewritten,
    NullFill,
    Rewriting,
    RewrittenFile,
)
from django_confiture.dry_run.rewriting.statement_parts import NoRecipe, Part, Phase, parts_of
from django_confiture.dry_run.sql.enums import AlterTableType
from django_confiture.dry_run.sql.nodes import subcommands
from django_confiture.dry_run.sql.parser import Kind, Statement

_BY_STATEMENTS = (AddConstraint, AddField, AlterField, AlterUniqueTogether)
_TWICE = "Each batch commits by itself"
_HARMLESS = (Kind.SELECT, Kind.QUIET, Kind.SAVEPOINT, Kind.TRANSACTION)
_WHY = {
    Phase.SCHEMA: "Short locks only: what is there already is not read",
    Phase.INDEX: "CONCURRENTLY lets others write; it can't run in a transaction",
    Phase.VALIDATE: "Reads the table under a lock that lets others read and write",
    Phase.SWITCH: "Short locks only: PostgreSQL uses what has been built or validated",
}
_WHAT = {
    Phase.SCHEMA: "columns",
    Phase.INDEX: "index",
    Phase.VALIDATE: "validate",
    Phase.SWITCH: "switch",
}


def rewriting_of(
    operation: Operation,
    statements: Sequence[Statement],
    *,
    app_label: str,
    partitioned: bool,
    routed: bool,
) -> Rewriting | NotRewritten:
    """Return what an operation becomes, or why there is no recipe for all of it.

    ``statements`` are all that it makes; ``partitioned`` says whether one of its tables is, and
    ``routed`` whether the project has database routers, which are then told the model.
    """
    if partitioned:
        return NotRewritten("a partitioned table takes neither CONCURRENTLY nor NOT VALID")
    if (known := _own_operations(operation)) is not None:
        return Rewriting(known)
    if type(operation) not in _BY_STATEMENTS:
        return NotRewritten(f"there is no recipe for {type(operation).__name__}")
    try:
        return Rewriting(tuple(_by_statements(operation, statements, app_label, routed=routed)))
    except NoRecipe as reason:
        return NotRewritten(str(reason))


def _own_operations(operation: Operation) -> tuple[RewrittenFile, ...] | None:
    """Return the file with Django's own concurrent operation, if it has one."""
    if type(operation) is AddIndex:
        better = AddIndexConcurrently(operation.model_name, operation.index)
        return (RewrittenFile("index", _WHY[Phase.INDEX], [better], atomic=False),)
    if type(operation) is RemoveIndex:
        drop = RemoveIndexConcurrently(operation.model_name, operation.name)
        why = "CONCURRENTLY waits for others without making them wait"
        return (RewrittenFile("index", why, [drop], atomic=False),)
    if type(operation) is AddConstraint and isinstance(operation.constraint, CheckConstraint):
        model, check = operation.model_name, operation.constraint
        return (
            RewrittenFile("check", _WHY[Phase.SCHEMA], [AddConstraintNotValid(model, check)]),
            RewrittenFile(
                "validate", _WHY[Phase.VALIDATE], [ValidateConstraint(model, check.name)]
            ),
        )
    return None


def _by_statements(
    operation: Operation, statements: Sequence[Statement], app_label: str, *, routed: bool
) -> Iterator[RewrittenFile]:
    """Yield the files of an operation whose statements are taken apart one by one."""
    fill = None
    parts: list[Part] = []
    hints = {"model_name": _model_name(operation)} if routed else {}
    changing = [each for each in statements if each.kind not in _HARMLESS]
    for statement in _without_passing_default(operation, changing):
        if statement.what == "update_stmt":
            fill = _null_fill(operation, app_label, hints)
        else:
            parts += parts_of(statement)
    if not parts:
        raise NoRecipe("nothing of it takes long")
    files = list(_in_phases(parts, fill, hints))
    if fill is not None:
        yield RewrittenFile("fill", f"{_TWICE}, so no row stays locked", atomic=False, fill=fill)
    yield from files[:-1]
    yield _with_state(files[-1], operation)


def _in_phases(
    parts: Sequence[Part], fill: NullFill | None, hints: Mapping[str, str]
) -> Iterator[RewrittenFile]:
    in_order = sorted(parts, key=lambda part: part.phase)
    for phase, group in groupby(in_order, key=lambda part: part.phase):
        together = [part.operation(hints) for part in group]
        if phase is Phase.INDEX:  # one a file: where one fails, the others are done
            for each in together:
                yield RewrittenFile(_WHAT[phase], _WHY[phase], [each], atomic=False)
        elif phase is Phase.VALIDATE and fill is not None:
            why = f"{_TWICE}: rows that came in without a value before the CHECK"
            yield RewrittenFile("fill_again", why, atomic=False, fill=fill)
            yield RewrittenFile(_WHAT[phase], _WHY[phase], together)
        else:
            yield RewrittenFile(_WHAT[phase], _WHY[phase], together)


def _with_state(last: RewrittenFile, operation: Operation) -> RewrittenFile:
    together = SeparateDatabaseAndState(
        database_operations=list(last.operations), state_operations=[operation]
    )
    return RewrittenFile(last.what, last.why, [together], last.atomic)


def _without_passing_default(
    operation: Operation, statements: Sequence[Statement]
) -> Sequence[Statement]:
    """Return the statements of an AlterField without a default that it sets and drops again.

    It is there for the rows that are filled; the batches give them the value themselves.
    """
    if type(operation) is not AlterField:
        return statements
    defaults = [each for each in statements if _alters_default(each)]
    match ["DROP DEFAULT" in each.sql for each in defaults]:
        case []:
            return statements
        case [False, True]:
            return [each for each in statements if each not in defaults]
    raise NoRecipe("it changes the column's default as well")


def _alters_default(statement: Statement) -> bool:
    return statement.what == "alter_table_stmt" and any(
        each.subtype == AlterTableType.ColumnDefault
        for each in subcommands(statement.node.alter_table_stmt)
    )


def _model_name(operation: Operation) -> str:
    name: str = getattr(operation, "model_name_lower", "") or operation.name_lower  # type: ignore[attr-defined]
    return name


def _null_fill(operation: Operation, app_label: str, hints: Mapping[str, str]) -> NullFill:
    if type(operation) is not AlterField or not operation.field.has_default():
        raise NoRecipe("it writes rows")
    default = operation.field.default
    if callable(default) and default not in (list, dict, str):
        raise NoRecipe("the value that it fills in comes from a function")
    name = operation.name + ("_id" if operation.field.remote_field else "")
    value = operation.field.get_default()
    return NullFill(app_label, operation.model_name, name, value, hints)
