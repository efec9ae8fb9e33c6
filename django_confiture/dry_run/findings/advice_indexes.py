"""Indexes without blocking writes."""

from __future__ import annotations

from django.contrib.postgres.operations import AddIndexConcurrently, RemoveIndexConcurrently
from django.db.migrations import AddField, AddIndex, RemoveIndex

from django_confiture.dry_run.findings import code, syntax
from django_confiture.dry_run.findings.subject import Step


def build(step: Step) -> str:
    """Return how to build an index CONCURRENTLY."""
    operation = step.django
    if isinstance(operation, AddIndex) and not isinstance(operation, AddIndexConcurrently):
        better = AddIndexConcurrently(operation.model_name, operation.index)
        return code.migration(code.operation(better), atomic=False)
    create = syntax.sql(step.node, concurrent=True)
    drop = f"DROP INDEX CONCURRENTLY IF EXISTS {step.node.idxname}"
    concurrent = code.run_sql(create, drop)
    if isinstance(operation, AddField):
        column = code.changed(operation.field, db_index=False)
        plain = AddField(operation.model_name, operation.name, column, operation.preserve_default)
        return code.migrations(
            code.migration(code.in_state(operation, code.operation(plain))),
            code.migration(concurrent, atomic=False, comment="The next migration"),
        )
    return code.migration(code.in_state(operation, concurrent), atomic=False)


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
