"""Indexes without blocking writes."""

from __future__ import annotations

from django.contrib.postgres.operations import AddIndexConcurrently, RemoveIndexConcurrently
from django.db.migrations import AddField, AddIndex, RemoveIndex

from django_confiture.dry_run.findings import code, syntax
from django_confiture.dry_run.findings.subject import Step, Subject


def build(subject: Subject, step: Step) -> str:
    """Return how to build the indexes of an operation CONCURRENTLY."""
    operation = step.django
    if isinstance(operation, AddIndex) and not isinstance(operation, AddIndexConcurrently):
        better = AddIndexConcurrently(operation.model_name, operation.index)
        return code.migration(code.operation(better), atomic=False)
    indexes = concurrently(subject, step)
    if isinstance(operation, AddField):
        column = code.changed(operation.field, db_index=False)
        plain = AddField(operation.model_name, operation.name, column, operation.preserve_default)
        return code.migrations(
            code.migration(code.in_state(operation, code.operation(plain))),
            code.migration(*indexes, atomic=False, comment="The next migration"),
        )
    return code.migration(code.in_state(operation, *indexes), atomic=False)


def concurrently(subject: Subject, step: Step) -> list[str]:
    """Return every index that the operation of a statement builds, CONCURRENTLY."""
    return [
        code.run_sql(
            syntax.sql(each.node, concurrent=True),
            f"DROP INDEX CONCURRENTLY IF EXISTS {each.node.idxname}",
        )
        for each in subject.steps
        if each.operation == step.operation and each.statement.what == "index_stmt"
    ]


def hidden(step: Step) -> str:
    """Return what to do about an index that code hides."""
    return code.comment(
        f"Take the CREATE INDEX out of the {step.statement.command}, into a migration with",
        "atomic = False: migrations.RunSQL('CREATE INDEX CONCURRENTLY ...')",
        "or AddIndexConcurrently(...).",
    )


def reindex(step: Step) -> str:
    """Return the REINDEX that blocks nobody."""
    words = step.result.sql.split()
    position = next((i for i, word in enumerate(words) if word.upper() in ("INDEX", "TABLE")), 0)
    concurrent = " ".join([*words[: position + 1], "CONCURRENTLY", *words[position + 1 :]])
    return code.migration(code.without_reverse(concurrent), atomic=False)


def drop(step: Step) -> str:
    """Return how to drop an index without waiting in front of everybody."""
    operation = step.django
    if isinstance(operation, RemoveIndex):
        better = RemoveIndexConcurrently(operation.model_name, operation.name)
        return code.migration(code.operation(better), atomic=False)
    concurrent = code.without_reverse(syntax.sql(step.node, concurrent=True))
    return code.migration(code.in_state(operation, concurrent), atomic=False)
