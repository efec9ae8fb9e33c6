"""Recipes: which files an operation becomes, by its class and by its statements."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from django.contrib.postgres.operations import (
    AddConstraintNotValid,
    AddIndexConcurrently,
    RemoveIndexConcurrently,
    ValidateConstraint,
)
from django.db.migrations import (
    AddConstraint,
    AddIndex,
    AlterField,
    RemoveIndex,
    RunPython,
    RunSQL,
    SeparateDatabaseAndState,
)
from django.db.migrations.operations.base import Operation
from django.db.models import CheckConstraint

from django_confiture.dry_run.rewriting.by_statements import BY_STATEMENTS, files_by_statements
from django_confiture.dry_run.rewriting.data.code import files_of_code
from django_confiture.dry_run.rewriting.facts import Facts
from django_confiture.dry_run.rewriting.files import (
    NoRecipe,
    NotRewritten,
    Rewriting,
    RewrittenFile,
)
from django_confiture.dry_run.rewriting.parts.parts import WHY, Phase
from django_confiture.dry_run.rewriting.raw_sql import files_of_script
from django_confiture.dry_run.rewriting.two_releases.removals import (
    REMOVING,
    files_of_loosening,
    files_of_removal,
    loosens,
    removes,
)
from django_confiture.dry_run.rewriting.two_releases.renames import (
    RENAMING,
    renames,
    rewriting_of_renames,
)
from django_confiture.dry_run.sql.parsing.parser import Statement


def rewriting_of(
    operation: Operation, statements: Sequence[Statement], facts: Facts
) -> Rewriting | NotRewritten:
    """Return what an operation becomes, or why there is no recipe for all of it.

    ``statements`` are all that it makes.
    """
    if type(operation) is SeparateDatabaseAndState:
        return _separate(operation, statements, facts)
    if (known := _own_operations(operation, facts)) is not None:
        return Rewriting(known)
    try:
        if type(operation) is RunPython:
            return Rewriting(tuple(files_of_code(operation, statements, facts)))
        if facts.releases == 2 and (files := _removal(operation, statements, facts)):
            return Rewriting(tuple(files))
        if type(operation) is RunSQL:
            return Rewriting(tuple(files_of_script(operation, statements, facts)))
        if type(operation) in (*RENAMING, AlterField) and renames(statements):
            return rewriting_of_renames(operation, statements, facts)
        if type(operation) in BY_STATEMENTS:
            return Rewriting(tuple(files_by_statements(operation, statements, facts)))
    except NoRecipe as reason:
        return NotRewritten(str(reason))
    return NotRewritten(f"there is no recipe for {type(operation).__name__}")


def _removal(
    operation: Operation, statements: Sequence[Statement], facts: Facts
) -> Sequence[RewrittenFile]:
    """Return the files of what only removes something, over two releases; else none."""
    if type(operation) in REMOVING or removes(operation, statements):
        return [*files_of_removal(operation, statements, facts)]
    if loosens(operation, statements):
        return [*files_of_loosening(operation, statements, facts)]
    return []


def _separate(
    operation: SeparateDatabaseAndState, statements: Sequence[Statement], facts: Facts
) -> Rewriting | NotRewritten:
    """Return what the database's side becomes; the models change in the last file, as given."""
    if len(operation.database_operations) != 1:
        return NotRewritten("its database_operations are not one operation")
    new = rewriting_of(operation.database_operations[0], statements, facts)
    if isinstance(new, NotRewritten):
        return new
    count = sum(not each.next_release for each in new.files)
    return Rewriting(
        tuple(
            _on_database(file, operation.state_operations if number == count else ())
            for number, file in enumerate(new.files, 1)
        )
    )


def _on_database(file: RewrittenFile, state_operations: Sequence[Operation]) -> RewrittenFile:
    operations: list[Operation] = []
    for each in file.operations:
        found = each.database_operations if type(each) is SeparateDatabaseAndState else [each]
        operations += map(_without_state, found)
    if not operations and not state_operations:
        return file
    return replace(file, operations=[SeparateDatabaseAndState(operations, list(state_operations))])


def _without_state(operation: Operation) -> Operation:
    if type(operation) is not RunSQL:
        return operation
    hints, elidable = operation.hints or None, operation.elidable
    return RunSQL(operation.sql, operation.reverse_sql, None, hints, elidable)


def _own_operations(operation: Operation, facts: Facts) -> tuple[RewrittenFile, ...] | None:
    """Return the file with Django's own concurrent operation, if it has one."""
    if type(operation) is AddIndex and not facts.partitioned:
        better = AddIndexConcurrently(operation.model_name, operation.index)
        return (RewrittenFile("index", WHY[Phase.INDEX], [better], atomic=False),)
    if type(operation) is RemoveIndex and not facts.partitioned:
        drop = RemoveIndexConcurrently(operation.model_name, operation.name)
        return (RewrittenFile("index", WHY[Phase.CLEAN_UP], [drop], atomic=False),)
    if type(operation) is AddConstraint and isinstance(operation.constraint, CheckConstraint):
        model, check = operation.model_name, operation.constraint
        validate = ValidateConstraint(model, check.name)
        return (
            RewrittenFile("check", WHY[Phase.CHECK], [AddConstraintNotValid(model, check)]),
            RewrittenFile("validate", WHY[Phase.VALIDATE], [validate]),
        )
    return None
