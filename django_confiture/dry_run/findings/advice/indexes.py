"""Indexes without blocking writes."""

from __future__ import annotations

from collections.abc import Iterator

from django.contrib.postgres.operations import AddIndexConcurrently, RemoveIndexConcurrently
from django.db.migrations import AddField, AddIndex, RemoveIndex

from django_confiture.dry_run.findings.advice import migration_code, tables
from django_confiture.dry_run.findings.subject import Step, Subject
from django_confiture.dry_run.sql.building import changed, copied, statement_sql
from django_confiture.dry_run.sql.identifiers import identifier


def build(subject: Subject, step: Step) -> str:
    """Return how to build the indexes of an operation CONCURRENTLY."""
    operation = step.django
    if isinstance(operation, AddIndex) and not step.is_partitioned(step.node.relation):
        better = AddIndexConcurrently(operation.model_name, operation.index)
        return migration_code.migration(migration_code.operation(better), atomic=False)
    indexes = concurrently(subject, step)
    if isinstance(operation, AddField):
        column = migration_code.changed(operation.field, db_index=False)
        plain = AddField(operation.model_name, operation.name, column, operation.preserve_default)
        return migration_code.migrations(
            migration_code.migration(
                migration_code.in_state(operation, migration_code.operation(plain))
            ),
            migration_code.migration(*indexes, atomic=False, comment="The next migration"),
        )
    return migration_code.migration(migration_code.in_state(operation, *indexes), atomic=False)


def concurrently(subject: Subject, step: Step) -> list[str]:
    """Return every index that the operation of a statement builds, CONCURRENTLY."""
    return [
        built
        for each in subject.steps
        if each.operation == step.operation and each.statement.what == "index_stmt"
        for built in _concurrently(each)
    ]


def _concurrently(step: Step) -> Iterator[str]:
    if step.is_partitioned(step.node.relation):
        yield from _by_partition(step)
        return
    build, name = statement_sql(changed(step.node, concurrent=True)), step.node.idxname
    drop = f"DROP INDEX CONCURRENTLY IF EXISTS {identifier(name)}"
    yield migration_code.run_sql(build, drop) if name else migration_code.without_reverse(build)


def _by_partition(step: Step) -> Iterator[str]:
    """Yield what PostgreSQL has in place of CONCURRENTLY where a table is partitioned."""
    node = copied(step.node)
    node.idxname = node.idxname or f"{node.relation.relname}_idx"
    node.relation.inh = False
    whole = identifier(node.idxname)
    yield migration_code.run_sql(statement_sql(node), f"DROP INDEX IF EXISTS {whole}")
    parts = [name for name in step.locks if name != step.existing(step.node.relation)]
    if any(step.kinds[name] == "p" for name in parts):
        yield migration_code.comment(
            "The same for each partition that is partitioned itself, and then:"
        )
    for name in (each for each in parts if step.kinds[each] == "r"):
        part = copied(step.node)
        part.relation.schemaname, _, part.relation.relname = name.rpartition(".")
        part.idxname = f"{part.relation.relname}_{node.idxname}"[:63]
        yield migration_code.without_reverse(statement_sql(changed(part, concurrent=True)))
        yield migration_code.without_reverse(
            f"ALTER INDEX {whole} ATTACH PARTITION {identifier(part.idxname)}"
        )


def hidden(step: Step) -> str:
    """Return what to do about an index that code hides."""
    return migration_code.comment(
        f"Take the CREATE INDEX out of the {step.statement.command}, into a migration with",
        "atomic = False: migrations.RunSQL('CREATE INDEX CONCURRENTLY ...')",
        "or AddIndexConcurrently(...).",
    )


def reindex(step: Step) -> str:
    """Return the REINDEX that blocks no one."""
    words = step.result.sql.split()
    position = next((i for i, word in enumerate(words) if word.upper() in ("INDEX", "TABLE")), 0)
    concurrent = " ".join([*words[: position + 1], "CONCURRENTLY", *words[position + 1 :]])
    return migration_code.migration(migration_code.without_reverse(concurrent), atomic=False)


def drop(step: Step) -> str:
    """Return how to drop an index without waiting in front of everybody."""
    operation = step.django
    if "p" in [step.kinds[name] for name in step.locks]:
        return tables.alone()  # of partitions PostgreSQL drops none CONCURRENTLY
    if isinstance(operation, RemoveIndex):
        better = RemoveIndexConcurrently(operation.model_name, operation.name)
        return migration_code.migration(migration_code.operation(better), atomic=False)
    concurrent = migration_code.without_reverse(statement_sql(changed(step.node, concurrent=True)))
    return migration_code.migration(migration_code.in_state(operation, concurrent), atomic=False)
