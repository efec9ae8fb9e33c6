"""Recipes: which files an operation becomes, by its class and by its statements."""

from __future__ import annotations

from collections.abc import Sequence

from django.contrib.postgres.operations import (
    AddConstraintNotValid,
    AddIndexConcurrently,
    RemoveIndexConcurrently,
    ValidateConstraint,
)
from django.db.migrations import AddConstraint, AddIndex, RemoveIndex, RunSQL
from django.db.migrations.operations.base import Operation
from django.db.models import CheckConstraint

from django_confiture.dry_run.rewriting.by_statements import BY_STATEMENTS, files_by_statements
from django_confiture.dry_run.rewriting.facts import Facts
from django_confiture.dry_run.rewriting.files import (
    NoRecipe,
    NotRewritten,
    Rewriting,
    RewrittenFile,
)
from django_confiture.dry_run.rewriting.parts import WHY, Phase
from django_confiture.dry_run.rewriting.raw_sql import files_of_script
from django_confiture.dry_run.rewriting.two_releases import REMOVING, files_of_removal
from django_confiture.dry_run.sql.parser import Statement


def rewriting_of(
    operation: Operation, statements: Sequence[Statement], facts: Facts
) -> Rewriting | NotRewritten:
    """Return what an operation becomes, or why there is no recipe for all of it.

    ``statements`` are all that it makes.
    """
    if facts.partitioned:
        return NotRewritten("a partitioned table takes neither CONCURRENTLY nor NOT VALID")
    if (known := _own_operations(operation)) is not None:
        return Rewriting(known)
    try:
        if type(operation) is RunSQL:
            return Rewriting(tuple(files_of_script(operation, statements, facts)))
        if type(operation) in REMOVING and facts.releases == 2:
            return Rewriting(tuple(files_of_removal(operation, statements, facts)))
        if type(operation) in BY_STATEMENTS:
            return Rewriting(tuple(files_by_statements(operation, statements, facts)))
    except NoRecipe as reason:
        return NotRewritten(str(reason))
    return NotRewritten(f"there is no recipe for {type(operation).__name__}")


def _own_operations(operation: Operation) -> tuple[RewrittenFile, ...] | None:
    """Return the file with Django's own concurrent operation, if it has one."""
    if type(operation) is AddIndex:
        better = AddIndexConcurrently(operation.model_name, operation.index)
        return (RewrittenFile("index", WHY[Phase.INDEX], [better], atomic=False),)
    if type(operation) is RemoveIndex:
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
