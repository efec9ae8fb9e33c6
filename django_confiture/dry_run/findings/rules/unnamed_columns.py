"""Columns that are gone though no statement of the migration names them: CASCADE in code."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from django_confiture.dry_run.findings.finding import finding, measured
from django_confiture.dry_run.findings.subject import JudgedStatement, Subject
from django_confiture.dry_run.results import Finding
from django_confiture.dry_run.sql.parsing.enums import AlterTableType, ObjectType
from django_confiture.dry_run.sql.parsing.nodes import dropped_relations, subcommands
from django_confiture.dry_run.sql.parsing.parser import Statement, parse
from django_confiture.dry_run.sql.parsing.plpgsql import code_block
from django_confiture.formatting import listed


def columns_gone_unnamed(subject: Subject) -> Iterator[Finding]:
    """Yield what the schema lost by the end of the migration, beyond what its statements say.

    What a statement in the open drops by ``CASCADE`` is known from the catalog before it runs.
    Code in the database is not read for that: what is gone afterwards tells.
    """
    for table, columns in _lost(subject).items():
        lost = sorted(columns - set(_named(subject.steps, table)))
        if not lost:
            continue
        one = len(lost) == 1
        gone = f"{listed(lost)} of {table} {'is' if one else 'are'} dropped"
        message = f"{gone}, with what {'it holds' if one else 'they hold'}"
        step = subject.code_at(table)
        yield (
            finding("cascade-drops-columns", None, table, message)
            if step is None
            else measured("cascade-drops-columns", subject, step, table, message)
        )


def _lost(subject: Subject) -> dict[str, set[str]]:
    """Return the columns that tables with rows have lost, without what is known of already."""
    known = {column for step in subject.steps for column in step.columns_gone}
    known |= subject.columns_added
    changes = [each for each in subject.result.schema_changes if each.kind == "removed"]
    gone = {each.name for each in changes if each.relation is None}
    gone |= {table for step in subject.steps for table in _dropped_tables(step)}
    found: dict[str, set[str]] = {}
    for each in changes:
        if each.object != "column" or each.relation is None:
            continue
        table = subject.original_names.get(each.relation, each.relation)
        if not gone.isdisjoint((each.relation, table)):
            continue
        relation = subject.relations.get(table)
        if relation is not None and relation.size and (table, each.name) not in known:
            found.setdefault(table, set()).add(each.name)
    return found


def _dropped_tables(step: JudgedStatement) -> Iterator[str]:
    """Yield the tables that a statement drops in the open; another may have taken the name."""
    if step.statement.what == "drop_stmt" and step.node.remove_type == ObjectType.TABLE:
        yield from filter(None, map(step.existing, dropped_relations(step.node)))


def _named(steps: Iterable[JudgedStatement], table: str) -> Iterator[str]:
    """Yield the columns that code, and statements on a table, say that they drop or rename."""
    for step in steps:
        if step.statement.what in ("do_stmt", "create_function_stmt"):
            yield from _named_in_code(step.statement.sql)
        elif table in step.locks:
            yield from _dropped_by(step.statement)


def _named_in_code(text: str) -> Iterator[str]:
    block = code_block(text)
    if block is None:
        return
    for each in (*block.sql, *block.literals):
        for statement in parse(each, placeholders=False):
            yield from _dropped_by(statement)
    yield from block.literals  # the name alone, for format() to put into the statement


def _dropped_by(statement: Statement) -> Iterator[str]:
    if statement.what == "rename_stmt":
        yield statement.node.rename_stmt.subname
    if statement.what != "alter_table_stmt":
        return
    for each in subcommands(statement.node.alter_table_stmt):
        if each.subtype == AlterTableType.DropColumn:
            yield each.name
