"""Operations of Django, rewritten statement by statement."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import groupby
from typing import Any

from django.db.migrations import (
    AddConstraint,
    AddField,
    AddIndex,
    AlterField,
    AlterIndexTogether,
    AlterOrderWithRespectTo,
    AlterUniqueTogether,
    RemoveConstraint,
    RemoveIndex,
    SeparateDatabaseAndState,
)
from django.db.migrations.operations.base import Operation
from django.db.models import Field

from django_confiture.dry_run.rewriting.batching import batches_of
from django_confiture.dry_run.rewriting.changed_columns import (
    defaults_by,
)
from django_confiture.dry_run.rewriting.facts import Facts
from django_confiture.dry_run.rewriting.files import Fill, NoRecipe, NullFill, RewrittenFile
from django_confiture.dry_run.rewriting.parts.column_parts import own_values_parts
from django_confiture.dry_run.rewriting.parts.parts import ALONE, NOT_ATOMIC, WHAT, WHY, Part, Phase
from django_confiture.dry_run.rewriting.parts.statement_parts import parts_of
from django_confiture.dry_run.rewriting.parts.type_parts import changed_types_parts
from django_confiture.dry_run.rewriting.parts.wider_types import is_only_noted
from django_confiture.dry_run.rewriting.replaced import (
    after,
    makes_or_drops,
    without_the_same_again,
)
from django_confiture.dry_run.sql.parsing.building import alter_table_sql
from django_confiture.dry_run.sql.parsing.enums import AlterTableType
from django_confiture.dry_run.sql.parsing.identifiers import quote_identifier
from django_confiture.dry_run.sql.parsing.nodes import quoted_relation, subcommands
from django_confiture.dry_run.sql.parsing.parser import Kind, Statement, parse

BY_STATEMENTS = (
    AddConstraint,
    AddField,
    AddIndex,
    AlterField,
    AlterIndexTogether,
    AlterOrderWithRespectTo,
    AlterUniqueTogether,
    RemoveConstraint,
    RemoveIndex,
)
_HARMLESS = (Kind.SELECT, Kind.QUIET, Kind.SAVEPOINT, Kind.TRANSACTION)
_AGAIN = "Each batch commits by itself: rows that came in without a value before the CHECK"


def files_by_statements(
    operation: Operation, statements: Sequence[Statement], facts: Facts
) -> Iterator[RewrittenFile]:
    """Yield the files of an operation whose statements are taken apart one by one."""
    hints = {"model_name": _model_name(operation)} if facts.routed else {}
    changing: Sequence[Statement] = [each for each in statements if each.kind not in _HARMLESS]
    changing = without_the_same_again(changing, facts)
    if type(operation) is AlterField:
        changing = [part for each in changing for part in _one_by_one(each, facts)]
        changing = _without_passing_default(changing, facts)
    if facts.own_values and type(operation) is AddField:
        yield from _files_of_own_values(operation, changing, facts, hints)
        return
    parts: list[Part] = []
    waits = any(each.type_changes and facts.works(each.sql) for each in changing)
    if waits:
        parts += _type_changes(changing, facts)
        changing = []
    fill = None
    for statement in changing:
        if statement.what == "update_stmt":
            fill = _null_fill(operation, facts.app_label, hints)
            if fill is None:
                parts += _batches(operation, statement, facts)
        else:
            parts += parts_of(statement, facts)
    if not parts:
        raise NoRecipe("nothing of it takes long")
    yield from _files_with_state(_in_phases(parts, fill, hints), operation, differs=waits)


def _files_with_state(
    files: Iterable[RewrittenFile], operation: Operation, *, differs: bool = False
) -> Iterator[RewrittenFile]:
    """Yield the files; in the last one of this release the models change.

    ``differs``: from then on, and until the next release's files, they are not what the schema is.
    """
    files = list(files)
    now = [each for each in files if not each.next_release]
    yield from now[:-1]
    yield replace(_with_state(now[-1], operation), differs=differs)
    yield from files[len(now) :]


def _files_of_own_values(
    operation: AddField,
    statements: Sequence[Statement],
    facts: Facts,
    hints: Mapping[str, str],
) -> Iterator[RewrittenFile]:
    """Yield a column that may be NULL, its rows filled one by one, and then what it has to be."""
    model, name, field = operation.model_name, operation.name, operation.field
    parts: list[Part] = []
    for each in statements:
        if each.adds_column:
            node = each.node.alter_table_stmt
            for subcommand in subcommands(node):
                parts += own_values_parts(node.relation, subcommand, facts)
        elif not any(defaults_by(each)):
            parts += parts_of(each, facts)
    first = AddField(model, name, _without_demands(field))
    fill = NullFill(facts.app_label, model, name, field.default, hints, own=True)
    yield RewrittenFile(WHAT[Phase.SCHEMA], WHY[Phase.SCHEMA], [first])
    then = AlterField(model, name, field, operation.preserve_default)
    yield from _files_with_state(_in_phases(parts, fill, hints), then)


def _without_demands(field: Field[Any, Any]) -> Field[Any, Any]:
    """Return the field as one that may be NULL, and that nothing is said of its values."""
    _name, _path, args, options = field.deconstruct()
    for each in ("default", "unique", "db_index"):
        options.pop(each, None)
    return type(field)(*args, **{**options, "null": True})


def _type_changes(statements: Sequence[Statement], facts: Facts) -> Iterator[Part]:
    """Yield the parts of statements that change types: of a column, or of a key and all to it.

    The indexes and constraints that the others leave are made for the new columns alone, which
    take the old ones' places.
    """
    types = [each for each in statements if each.type_changes]
    sequences = [each.sql for each in statements if each.what == "alter_seq_stmt"]
    others = [each for each in statements if not each.type_changes and each.sql not in sequences]
    altered = [each.node.alter_table_stmt for each in types]
    changes = [(node.relation, each) for node in altered for each in subcommands(node)]
    if len(changes) > len(types) or not all(map(makes_or_drops, others)):
        raise NoRecipe("it changes the column's type, and more at once")
    if any(each.sql not in facts.rewriting for each in types):
        names = ", ".join(each.name for _relation, each in changes)
        raise NoRecipe(f"it changes the type of {names}")
    yield from changed_types_parts(changes, after(others, facts), sequences)


def _batches(operation: Operation, statement: Statement, facts: Facts) -> Iterator[Part]:
    """Yield the batches of an UPDATE, or those that give rows what the column's default is then."""
    if not operation.field.has_db_default():  # type: ignore[attr-defined]
        yield Part(Phase.FILL, statement.sql, batches=batches_of(statement, facts))
        return
    node = statement.node.update_stmt
    column = quote_identifier(node.target_list[0].res_target.name)
    fill = f"UPDATE {quoted_relation(node.relation)} SET {column} = DEFAULT WHERE {column} IS NULL"
    (again,) = parse(fill, placeholders=False)
    for phase in (Phase.FILL, Phase.FILL_AGAIN):
        yield Part(phase, fill, batches=batches_of(again, facts))


def _in_phases(
    parts: Sequence[Part], fill: NullFill | None, hints: Mapping[str, str]
) -> Iterator[RewrittenFile]:
    if fill is not None:
        yield _file(Phase.FILL, fill=fill)
    in_order = sorted(parts, key=lambda part: part.phase)
    for phase, group in groupby(in_order, key=lambda part: part.phase):
        if phase is Phase.VALIDATE and fill is not None:
            yield RewrittenFile("fill_again", _AGAIN, atomic=False, fill=fill)
        if phase in ALONE:
            yield from (_of_parts(phase, [each], hints) for each in group)
        else:
            yield _of_parts(phase, list(group), hints)


def _of_parts(phase: Phase, parts: Sequence[Part], hints: Mapping[str, str]) -> RewrittenFile:
    if (batches := parts[0].batches) is not None:
        return _file(phase, fill=batches)
    return _file(phase, [part.operation(hints) for part in parts])


def _file(
    phase: Phase, operations: Sequence[Operation] = (), fill: Fill | None = None
) -> RewrittenFile:
    return RewrittenFile(
        WHAT[phase],
        WHY[phase],
        operations,
        phase not in NOT_ATOMIC,
        fill,
        next_release=phase >= Phase.NEXT_RELEASE,
    )


def _with_state(last: RewrittenFile, operation: Operation) -> RewrittenFile:
    together = SeparateDatabaseAndState(
        database_operations=list(last.operations), state_operations=[operation]
    )
    return replace(last, operations=[together])


def _one_by_one(statement: Statement, facts: Facts) -> Iterator[Statement]:
    """Yield a statement for each part of an ALTER TABLE, unless it may be a new type that works."""
    several = len(statement.node.alter_table_stmt.cmds) > 1
    if not several or (facts.works(statement.sql) and _may_change_bytes(statement, facts)):
        yield statement
        return
    node = statement.node.alter_table_stmt
    for each in subcommands(node):
        yield from parse(alter_table_sql(node.relation, each), placeholders=False)


def _may_change_bytes(statement: Statement, facts: Facts) -> bool:
    node = statement.node.alter_table_stmt
    return any(
        each.subtype == AlterTableType.AlterColumnType
        and not is_only_noted(node.relation, each, facts)
        for each in subcommands(node)
    )


def _without_passing_default(statements: Sequence[Statement], facts: Facts) -> Sequence[Statement]:
    """Return the statements of an AlterField without a default that it sets and drops again.

    It is there for the rows that are filled; the batches give them the value themselves.
    """
    defaults = [(each, *of) for each in statements for of in defaults_by(each)]
    match defaults[-2:]:
        case [(sets, table, column, str()), (drops, _, _, None)] if _only_these(sets, drops):
            passing = [sets] if (table, column) in facts.defaults else [sets, drops]
            return [each for each in statements if not any(each is other for other in passing)]
    return statements


def _only_these(*defaults: Statement) -> bool:
    """Return whether the statements change nothing but the default."""
    return all(len(each.node.alter_table_stmt.cmds) == 1 for each in defaults)


def _model_name(operation: Operation) -> str:
    name: str = getattr(operation, "model_name_lower", "") or operation.name_lower  # type: ignore[attr-defined]
    return name


def _null_fill(operation: Operation, app_label: str, hints: Mapping[str, str]) -> NullFill | None:
    """Return the fill with the field's default; None where the database knows the value."""
    if type(operation) is not AlterField:
        raise NoRecipe("it writes rows")
    field = operation.field
    if field.has_db_default() or not field.has_default():
        return None
    if field.remote_field is not None and callable(field.default):
        raise NoRecipe("the row that it refers to comes from a function")
    name = operation.name + ("_id" if field.remote_field else "")
    as_it_is = callable(field.default) or field.remote_field is not None
    value = field.default if as_it_is else field.get_default()
    return NullFill(app_label, operation.model_name, name, value, hints)
