"""RunSQL: each statement of the script in its turn, in the form that lets others work."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import groupby

from django.db.migrations import RunSQL
from django.db.migrations.operations.base import Operation

from django_confiture.dry_run.rewriting.batching import batches_of, refuse_counting_trigger
from django_confiture.dry_run.rewriting.facts import Facts
from django_confiture.dry_run.rewriting.files import (
    Batches,
    NoRecipe,
    NumbersInPlace,
    RewrittenFile,
)
from django_confiture.dry_run.rewriting.parts.index_parts import concurrently
from django_confiture.dry_run.rewriting.parts.parts import ALONE, NOT_ATOMIC, WHAT, WHY, Part, Phase
from django_confiture.dry_run.rewriting.parts.statement_parts import parts_of
from django_confiture.dry_run.sql.parsing.parser import Kind, Statement, parse

_INDEXES = ("index_stmt", "drop_stmt", "reindex_stmt")


def files_of_script(
    operation: RunSQL, statements: Sequence[Statement], facts: Facts
) -> Iterator[RewrittenFile]:
    """Yield the files of a RunSQL; the user's way back is the first file's."""
    facts = replace(facts, releases=1)  # its authors say what the way back is, of all of it
    parts = [part for each in statements for part in _parts(each, facts)]
    if all(part.phase is Phase.SCHEMA for part in parts):
        raise NoRecipe("nothing of it takes long")
    if {part.phase for part in parts} == {Phase.ROWS}:
        raise NoRecipe(parts[0].why_whole or "it reads and writes rows, all in one statement")
    files = [_file(phase, group, operation) for phase, group in _groups(parts)]
    for number, each in enumerate(files):
        yield _complete(each, operation, first=number == 0, last=number == len(files) - 1)


def _parts(statement: Statement, facts: Facts) -> Iterator[Part]:
    if statement.kind in (Kind.TRANSACTION, Kind.SAVEPOINT) or statement.what in (
        "variable_set_stmt",
        "lock_stmt",
    ):
        raise NoRecipe(f"its {statement.command} is about the whole script")
    if statement.what in ("update_stmt", "delete_stmt"):
        yield _of_rows(statement, facts)
    elif statement.what not in _INDEXES and statement.sql not in facts.working:
        yield Part(Phase.SCHEMA, statement.sql)
    elif statement.what in ("insert_stmt", "merge_stmt", "select_stmt"):
        yield Part(Phase.ROWS, statement.sql)
    else:
        yield from sorted(parts_of(statement, facts), key=lambda part: part.phase)


def _of_rows(statement: Statement, facts: Facts) -> Part:
    """Return the batches of an UPDATE or a DELETE; or itself, where it has to be one statement."""
    try:
        refuse_counting_trigger(statement, facts)
        return Part(Phase.FILL, statement.sql, batches=batches_of(statement, facts))
    except NoRecipe as reason:
        return Part(Phase.ROWS, statement.sql, why_whole=str(reason))


def _groups(parts: Sequence[Part]) -> Iterator[tuple[Phase, list[Part]]]:
    """Yield the parts that share a file, in the script's order."""
    for phase, group in groupby(parts, key=lambda part: part.phase):
        if phase in ALONE:
            yield from ((phase, [each]) for each in group)
        else:
            yield phase, list(group)


def _file(phase: Phase, parts: Sequence[Part], operation: RunSQL) -> RewrittenFile:
    fill = parts[0].batches
    if fill is not None:
        fill = replace(fill, elidable=operation.elidable, hints=operation.hints or None)
    operations = [] if fill is not None else [_run_sql_like(each.sql, operation) for each in parts]
    return RewrittenFile(WHAT[phase], WHY[phase], operations, phase not in NOT_ATOMIC, fill)


def _run_sql_like(sql: str, operation: RunSQL, reverse: object = RunSQL.noop) -> RunSQL:
    return RunSQL(sql, reverse, None, operation.hints or None, operation.elidable)  # type: ignore[arg-type]


def _complete(file: RewrittenFile, operation: RunSQL, *, first: bool, last: bool) -> RewrittenFile:
    """Return a file with the way back, and with the models' change, where it has them."""
    operations: list[Operation] = list(file.operations)
    reverse = operation.reverse_sql
    fill = file.fill
    if reverse is None:  # as it is, it can't be undone
        operations = [_run_sql_like(each.sql, operation, None) for each in operations]  # type: ignore[attr-defined]
        if isinstance(fill, Batches | NumbersInPlace):
            fill = replace(fill, reversible=False)
    elif first and reverse != RunSQL.noop:
        back = _way_back(reverse, atomic=file.atomic)
        if len(operations) == 1:
            operations = [_run_sql_like(operations[0].sql, operation, back)]  # type: ignore[attr-defined]
        else:
            operations.insert(0, _run_sql_like(RunSQL.noop, operation, back))
    if last and operation.state_operations:
        run = operations.pop() if operations else _run_sql_like(RunSQL.noop, operation)
        run.state_operations = operation.state_operations  # type: ignore[attr-defined]
        operations.append(run)
    return replace(file, operations=operations, fill=fill)


def _way_back(reverse: object, *, atomic: bool) -> object:
    """Return the user's reverse_sql, its indexes CONCURRENTLY where the file has no transaction."""
    if atomic or not isinstance(reverse, str):
        return reverse
    statements = parse(reverse, placeholders=False)
    if {each.what for each in statements} - {"index_stmt", "drop_stmt"}:
        return reverse
    # PostgreSQL runs several statements in one text as one transaction.
    found = [_as_concurrent(each) for each in statements]
    return found[0] if len(found) == 1 else found


def _as_concurrent(statement: Statement) -> str:
    if statement.what == "index_stmt":
        return concurrently(statement.node.index_stmt)
    words = statement.sql.split(maxsplit=2)
    if [each.upper() for each in words[:2]] != ["DROP", "INDEX"]:
        return statement.sql
    is_concurrent = words[2].upper().startswith("CONCURRENTLY")
    return statement.sql if is_concurrent else f"DROP INDEX CONCURRENTLY {words[2]}"
