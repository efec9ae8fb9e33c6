"""What is removed over two releases: from the models now, from the database later."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from django.db.migrations import (
    AlterField,
    AlterUniqueTogether,
    DeleteModel,
    RemoveConstraint,
    RemoveField,
    RunSQL,
    SeparateDatabaseAndState,
)
from django.db.migrations.operations.base import Operation

from django_confiture.dry_run.rewriting.facts import Facts, known_name
from django_confiture.dry_run.rewriting.files import NoRecipe, Rewriting, RewrittenFile
from django_confiture.dry_run.rewriting.parts.parts import WHAT, WHY, Phase
from django_confiture.dry_run.sql.parsing.building import alter_table_sql
from django_confiture.dry_run.sql.parsing.enums import AlterTableType, ObjectType
from django_confiture.dry_run.sql.parsing.identifiers import quote_identifier
from django_confiture.dry_run.sql.parsing.nodes import (
    Node,
    dropped_relations,
    quoted_relation,
    subcommands,
)
from django_confiture.dry_run.sql.parsing.parser import Kind, Statement

REMOVING = (DeleteModel, RemoveField)
LOOSENING = (AlterField, AlterUniqueTogether, RemoveConstraint)
_WHY = "This release: its code no longer knows it, and the database takes rows without it"
_WHY_LOOSER = "This release: its code no longer counts on the constraint, which is still there"


def files_of_removal(
    operation: Operation, statements: Sequence[Statement], facts: Facts
) -> Iterator[RewrittenFile]:
    """Yield the file of this release, and that of the next one."""
    state: Sequence[Operation] = [operation]
    backwards: str | list[str] | None = _one_or_all(facts.backwards)
    if isinstance(operation, RunSQL):
        state, backwards = operation.state_operations, operation.reverse_sql  # type: ignore[assignment]
    removing = [each for each in statements if each.kind is Kind.DDL]
    if not removing:
        raise NoRecipe("it removes nothing from the database")
    freeing = [RunSQL(*pair) for each in removing for pair in _freed(each, facts)]
    models = SeparateDatabaseAndState(database_operations=freeing, state_operations=state)
    yield RewrittenFile("models", _WHY, [models])
    drops = [each.sql for each in removing if not _is_done(each)]
    drop = RunSQL(_one_or_all(drops), backwards)  # type: ignore[arg-type]
    phase = Phase.NEXT_RELEASE
    yield RewrittenFile(WHAT[phase], WHY[phase], [drop], next_release=True)


def files_of_loosening(
    operation: Operation, statements: Sequence[Statement], facts: Facts
) -> Iterator[RewrittenFile]:
    """Yield the file that no longer has it in the models, and the next release's that drops it."""
    if not facts.backwards:
        raise NoRecipe("the statements that take it back are not known")
    models = SeparateDatabaseAndState(state_operations=[operation])
    yield RewrittenFile("models", _WHY_LOOSER, [models], differs=True)
    drops = [each.sql for each in statements if each.kind is Kind.DDL]
    drop = RunSQL(_one_or_all(drops), _one_or_all(facts.backwards))  # type: ignore[arg-type]
    phase = Phase.NEXT_RELEASE
    yield RewrittenFile(WHAT[phase], WHY[phase], [drop], next_release=True)


def postponed(new: Rewriting) -> Rewriting:
    """Return the same files for the next release, unless a part of them waits for it anyway."""
    if any(each.next_release for each in new.files):
        return new
    first, *rest = new.files
    why = f"{WHY[Phase.NEXT_RELEASE]}. {first.why}"
    return replace(
        new,
        files=(
            replace(first, why=why, next_release=True),
            *(replace(each, next_release=True) for each in rest),
        ),
    )


def loosens(operation: Operation, statements: Sequence[Statement]) -> bool:
    """Return whether all that an operation does is to drop constraints."""
    changing = [each for each in statements if each.kind is Kind.DDL]
    return type(operation) in LOOSENING and bool(changing) and all(map(_is_done, changing))


def removes(operation: Operation, statements: Sequence[Statement]) -> bool:
    """Return whether a RunSQL drops columns or tables that models know, and does no more."""
    return (
        type(operation) is RunSQL
        and bool(operation.state_operations)
        and all(_drops_only(each) for each in statements)
    )


def _drops_only(statement: Statement) -> bool:
    if statement.what == "drop_stmt":
        return bool(statement.node.drop_stmt.remove_type == ObjectType.TABLE)
    return statement.what == "alter_table_stmt" and all(
        each.subtype in (AlterTableType.DropColumn, AlterTableType.DropConstraint)
        for each in subcommands(statement.node.alter_table_stmt)
    )


def drops_table(statement: Statement, table: str) -> bool:
    """Return whether a statement drops a table."""
    if statement.what != "drop_stmt":
        return False
    dropped = {each.relname for each in dropped_relations(statement.node.drop_stmt)}
    is_table = statement.node.drop_stmt.remove_type == ObjectType.TABLE
    return is_table and table.rpartition(".")[2] in dropped


def drops_constraint(statement: Statement, table: str) -> bool:
    """Return whether all that a statement does is to drop constraints of a table."""
    if not _is_done(statement):
        return False
    relation = statement.node.alter_table_stmt.relation
    return bool(relation.relname == table.rpartition(".")[2])


def _is_done(statement: Statement) -> bool:
    """Return whether a statement only drops constraints."""
    return statement.what == "alter_table_stmt" and all(
        each.subtype == AlterTableType.DropConstraint
        for each in subcommands(statement.node.alter_table_stmt)
    )


def _one_or_all(statements: Sequence[str]) -> str | list[str]:
    return statements[0] if len(statements) == 1 else list(statements)


def _freed(statement: Statement, facts: Facts) -> Iterator[tuple[str, str]]:
    """Yield what keeps code that does not know a column or a table from writing, and the way back.

    Foreign keys come back with what they belong to.
    """
    if statement.what == "drop_stmt":
        for table in dropped_relations(statement.node.drop_stmt):
            yield from _without_foreign_keys(table, facts)
    elif statement.what == "alter_table_stmt":
        relation = statement.node.alter_table_stmt.relation
        for each in subcommands(statement.node.alter_table_stmt):
            if each.subtype == AlterTableType.DropConstraint:
                yield _dropped_if_there(relation, each.name), RunSQL.noop
            elif each.subtype == AlterTableType.DropColumn:
                column = f"ALTER COLUMN {quote_identifier(each.name)}"
                table = f"ALTER TABLE {quoted_relation(relation)}"
                if each.name in facts.required.get(known_name(relation), ()):
                    yield f"{table} {column} DROP NOT NULL", f"{table} {column} SET NOT NULL"
            else:
                raise NoRecipe(f"it runs {alter_table_sql(relation, each)}")


def _without_foreign_keys(table: Node, facts: Facts) -> Iterator[tuple[str, str]]:
    for (name, constraint), definition in facts.constraints.items():
        if name == known_name(table) and definition.startswith("FOREIGN KEY"):
            yield _dropped_if_there(table, constraint), RunSQL.noop


def _dropped_if_there(table: Node, constraint: str) -> str:
    name = quote_identifier(constraint)
    return f"ALTER TABLE {quoted_relation(table)} DROP CONSTRAINT IF EXISTS {name}"
