"""What running code trips over: as it was executed, else as the migration's text says."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from django_confiture.dry_run.findings.finding import evidence, finding
from django_confiture.dry_run.findings.rules import executed_breaks
from django_confiture.dry_run.findings.subject import JudgedStatement, Subject
from django_confiture.dry_run.results import Finding
from django_confiture.dry_run.sql.parsing.enums import AlterTableType, DropBehavior, ObjectType
from django_confiture.dry_run.sql.parsing.nodes import (
    Node,
    column_def,
    dropped_relations,
    subcommands,
    type_name,
    written_name,
)
from django_confiture.formatting import listed
from django_confiture.sql_text import is_written_in

_RELATIONS = {ObjectType.TABLE, ObjectType.VIEW, ObjectType.MATVIEW, ObjectType.FOREIGN_TABLE}

_KINDS_OF_RELATIONS = {"table", "view", "materialized view"}

Rule = Callable[[Subject, JudgedStatement], Iterator[Finding]]


_PROVABLE = {"column-dropped", "column-renamed", "table-dropped", "table-renamed"}
"""What is not guessed where the models of the running code were tried."""


def breaks_of_running_code(subject: Subject) -> Iterator[Finding]:
    """Yield what breaks code that runs meanwhile, and what is better written otherwise."""
    guesses = list(_guesses(subject))
    for each in guesses:
        if each.id not in _PROVABLE or each.relation not in subject.tried:
            yield each
    for relation, breaks in subject.breaks.items():
        guessed = [each for each in guesses if each.id in _PROVABLE and each.relation == relation]
        yield executed_breaks.running_code_breaks(relation, breaks, guessed)


def _guesses(subject: Subject) -> Iterator[Finding]:
    found = list(_of_statements(subject))
    yield from found
    if subject.forward:
        yield from _dropped_by_code(subject, {each.relation for each in found})


def _of_statements(subject: Subject) -> Iterator[Finding]:
    named = {name for step in subject.steps for name in _relations_named(step)}
    for step in subject.steps:
        yield from _referenced(subject, step, named)
        yield from _cascaded(subject, step, named)
        rule = _RULES.get(step.statement.what)
        if rule is not None and subject.forward:
            yield from rule(subject, step)
    for table, constraint, columns in subject.foreign_keys:
        yield finding(
            "foreign-key-without-index",
            _operation_of(subject, table, constraint),
            table,
            f"No index supports the foreign key on {columns}: each DELETE of a referenced row "
            f"reads all of {table}",
            evidence=[unindexed(constraint, columns)],
        )


def unindexed(constraint: str, columns: str) -> str:
    """Return the evidence of a foreign key without an index."""
    return f"{constraint} has no index that begins with {columns}"


def _operation_of(subject: Subject, table: str, constraint: str) -> int | None:
    naming = [step for step in subject.steps if _says(step, constraint)]
    naming = [step for step in naming if _says(step, table)] or naming
    if not naming and len(subject.steps) == 1:
        return subject.steps[0].operation
    return naming[0].operation if naming else None


def _says(step: JudgedStatement, name: str) -> bool:
    """Return whether a name stands in the text of a statement as a whole."""
    return is_written_in(name, step.result.text)


def _relations_named(step: JudgedStatement) -> Iterator[str]:
    """Yield the relations that a statement names as the ones that it changes."""
    if step.statement.what in ("alter_table_stmt", "rename_stmt"):
        yield from filter(None, [step.existing(step.node.relation)])
    elif step.statement.what == "drop_stmt" and step.node.remove_type in _RELATIONS:
        yield from filter(None, map(step.existing, dropped_relations(step.node)))


def _referenced(subject: Subject, step: JudgedStatement, named: set[str]) -> Iterator[Finding]:
    """Yield the tables that dropping a foreign key locks without naming them."""
    own = _drops_from(step)
    if own is None or "p" in [step.kinds.get(name) for name in own]:
        return
    for table, mode in step.locks.items():
        if table not in named and mode.blocks_reads and step.kinds[table] in ("r", "p"):
            message = (
                f"Dropping a foreign key of {listed(own)} blocks reads and writes of {table}, too"
            )
            yield finding(
                "locks-referenced-table",
                step,
                table,
                message,
                evidence=evidence(subject, step, table),
            )


def _drops_from(step: JudgedStatement) -> list[str] | None:
    """Return the tables that a statement names, None where it drops no foreign key."""
    if step.statement.what == "drop_stmt" and step.node.remove_type == ObjectType.TABLE:
        return [name for each in dropped_relations(step.node) for name in _known(step, each)]
    if step.statement.what == "alter_table_stmt" and any(
        clause.subtype in (AlterTableType.DropColumn, AlterTableType.DropConstraint)
        for clause in subcommands(step.node)
    ):
        return _known(step, step.node.relation)
    return None


def _known(step: JudgedStatement, range_var: Node) -> list[str]:
    name = step.existing(range_var)
    return [name or written_name(range_var)]


def _alter_table(subject: Subject, step: JudgedStatement) -> Iterator[Finding]:
    table = step.existing(step.node.relation)
    for clause in subcommands(step.node):
        if clause.subtype == AlterTableType.DropColumn and table is not None:
            yield from _column(subject, step, table, clause.name, "column-dropped")
        column = column_def(clause)
        if column is not None and type_name(column) == "json":
            yield _json(step, written_name(step.node.relation), column.colname or clause.name)


def _cascaded(subject: Subject, step: JudgedStatement, named: set[str]) -> Iterator[Finding]:
    """Yield the views that CASCADE drops, as Django's RemoveField does without a word."""
    if not subject.forward or not _cascades(step):
        return
    for view, mode in step.locks.items():
        is_view = view not in named and step.kinds[view] in ("v", "m")
        if is_view and mode.blocks_reads and not _made_again(subject, step, view):
            message = f"CASCADE drops {view} as well: code that still runs reads it"
            yield finding("table-dropped", step, view, message)


def _dropped_by_code(subject: Subject, told: set[str | None]) -> Iterator[Finding]:
    """Yield the tables and views that are gone at the end, by what a DO or a function did."""
    running = [step for step in subject.steps if step.hides_effects]
    removed = [each for each in subject.result.schema_changes if each.kind == "removed"]
    gone = [each.name for each in removed if each.object in _KINDS_OF_RELATIONS]
    for name in (subject.original_names.get(each, each) for each in gone if running):
        by_cascade = any(_cascades(step) and step.blocks_reads(name) for step in subject.steps)
        if name in subject.relations and name not in told and not by_cascade:
            message = f"Code in the database drops {name}: code that still runs reads it"
            yield finding("table-dropped", subject.code_at(name), name, message)


def _cascades(step: JudgedStatement) -> bool:
    if step.statement.what == "alter_table_stmt":
        return any(each.behavior == DropBehavior.CASCADE for each in subcommands(step.node))
    drops = step.statement.what in ("drop_stmt", "drop_owned_stmt")
    return drops and bool(step.node.behavior == DropBehavior.CASCADE)


def _column(
    subject: Subject, step: JudgedStatement, table: str, column: str, name: str
) -> Iterator[Finding]:
    if (table, column) in subject.columns_added:
        return
    if name == "column-dropped":
        message = f"Code that still runs selects {column} of {table} until it is replaced"
    else:
        message = f"Code that still runs knows {column} of {table} under its old name"
    yield finding(name, step, table, message)


def _create_table(_subject: Subject, step: JudgedStatement) -> Iterator[Finding]:
    for each in step.node.table_elts:
        column = each.column_def
        if each.WhichOneof("node") == "column_def" and type_name(column) == "json":
            yield _json(step, written_name(step.node.relation), column.colname)


def _json(step: JudgedStatement, table: str, column: str) -> Finding:
    message = f"{column} is json, which has no equality: SELECT DISTINCT of {table} fails"
    return finding("json-column", step, table, message)


def _drop(subject: Subject, step: JudgedStatement) -> Iterator[Finding]:
    kind = step.node.remove_type
    if kind == ObjectType.SCHEMA:
        yield _schema(step, next(each.string.sval for each in step.node.objects), "dropped")
    if kind not in _RELATIONS:
        return
    for each in dropped_relations(step.node):
        table = step.existing(each)
        if table is not None and not _made_again(subject, step, each.relname):
            message = f"Code that still runs reads {table} until it is replaced"
            yield finding("table-dropped", step, table, message)


def _made_again(subject: Subject, step: JudgedStatement, dropped: str) -> bool:
    """Return whether a later statement of the same transaction makes a relation of that name."""
    later = (each for each in subject.steps if each.id > step.id and step.runs == each.runs)
    name = dropped.rpartition(".")[2]
    return any(_makes(each) == name for each in later)


def _makes(step: JudgedStatement) -> str:
    node = step.node
    match step.statement.what:
        case "create_stmt":
            name = node.relation.relname
        case "view_stmt":
            name = node.view.relname
        case "create_table_as_stmt":
            name = node.into.rel.relname
        case "rename_stmt":
            name = node.newname
        case _:
            name = ""
    return str(name)


def _rename(subject: Subject, step: JudgedStatement) -> Iterator[Finding]:
    kind = step.node.rename_type
    if kind == ObjectType.SCHEMA:
        yield _schema(step, step.node.subname, "renamed")
        return
    table = step.existing(step.node.relation)
    if table is None:
        return
    if kind == ObjectType.COLUMN:
        yield from _column(subject, step, table, step.node.subname, "column-renamed")
    elif kind in _RELATIONS:
        yield _table_renamed(step, table)


def _moved(_subject: Subject, step: JudgedStatement) -> Iterator[Finding]:
    table = step.existing(step.node.relation)
    if table is not None:
        yield _table_renamed(step, table)


def _table_renamed(step: JudgedStatement, table: str) -> Finding:
    message = f"Code that still runs knows {table} under its old name"
    return finding("table-renamed", step, table, message)


def _schema(step: JudgedStatement, name: str, how: str) -> Finding:
    message = f"The schema {name} is {how}: code that still runs looks for its tables there"
    return finding("schema-changed", step, None, message)


def _enum(_subject: Subject, step: JudgedStatement) -> Iterator[Finding]:
    if step.node.old_val:
        message = f"Code that still runs reads and writes {step.node.old_val}, which is renamed"
        yield finding("enum-value-renamed", step, None, message)


_RULES: Mapping[str, Rule] = {
    "alter_table_stmt": _alter_table,
    "create_stmt": _create_table,
    "drop_stmt": _drop,
    "rename_stmt": _rename,
    "alter_object_schema_stmt": _moved,
    "alter_enum_stmt": _enum,
}
