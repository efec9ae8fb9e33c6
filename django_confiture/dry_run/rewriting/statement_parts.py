"""Splits a statement of a schema change into parts: those that lock, those that take time."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from enum import IntEnum

from django.db.migrations import RunSQL

from django_confiture.dry_run.rewriting.names import object_name
from django_confiture.dry_run.sql.building import (
    add_constraint,
    alter_table_sql,
    changed,
    foreign_key_of,
    not_valid,
    statement_sql,
    without_constraints,
)
from django_confiture.dry_run.sql.enums import AlterTableType, ConstrType
from django_confiture.dry_run.sql.identifiers import qualified_name, quote_identifier
from django_confiture.dry_run.sql.nodes import (
    Node,
    constraints_of_column,
    definition,
    functions_called_in,
    quoted_relation,
    strings,
    subcommands,
    type_name,
)
from django_confiture.dry_run.sql.parser import Statement

_SERIALS = {"serial", "bigserial", "smallserial", "serial2", "serial4", "serial8"}
_ATTRIBUTES = {
    ConstrType.ATTR_DEFERRABLE,
    ConstrType.ATTR_NOT_DEFERRABLE,
    ConstrType.ATTR_DEFERRED,
    ConstrType.ATTR_IMMEDIATE,
}
"""In a column's definition these follow their foreign key as if they were constraints."""


class Phase(IntEnum):
    """The order in which the parts of an operation run; each phase has files of its own."""

    SCHEMA = 1
    """Short locks: columns, constraints that only new rows have to obey."""
    INDEX = 2
    """CREATE INDEX CONCURRENTLY, in no transaction."""
    VALIDATE = 3
    """Reads the table, and lets others write to it."""
    SWITCH = 4
    """Short locks again, for what the validated constraint or the new index makes cheap."""


@dataclass(frozen=True)
class Part:
    """One statement of the rewritten operation, and the one that reverses it."""

    phase: Phase
    sql: str
    reverse: str = RunSQL.noop

    def operation(self, hints: Mapping[str, str]) -> RunSQL:
        """Return the operation that runs it; ``hints`` are for the database routers."""
        return RunSQL(self.sql, self.reverse, hints=dict(hints) or None)


class NoRecipe(Exception):  # noqa: N818 - it says that there is none, not that something failed
    """Raised for a statement that no recipe knows; the message is the reason."""


def parts_of(statement: Statement) -> Iterator[Part]:
    """Yield what a statement becomes; raises :class:`NoRecipe` where that is not known."""
    if statement.what == "index_stmt":
        yield _index(getattr(statement.node, statement.what))
    elif statement.what == "alter_table_stmt":
        node = statement.node.alter_table_stmt
        for subcommand in subcommands(node):
            rule = _RULES.get(subcommand.subtype)
            if rule is None:
                kind = AlterTableType(subcommand.subtype).name if _known(subcommand) else "unknown"
                raise NoRecipe(f"its ALTER TABLE has a part of the kind {kind}")
            yield from rule(node.relation, subcommand)
    elif statement.what == "comment_stmt":  # alone it takes no time, and goes with its column
        yield Part(Phase.SCHEMA, statement.sql)
    elif statement.what == "rename_stmt":
        raise NoRecipe("it renames something")
    else:
        raise NoRecipe(f"it runs {statement.command}")


def _known(subcommand: Node) -> bool:
    return subcommand.subtype in set(AlterTableType)


def _index(node: Node) -> Part:
    if not node.idxname or node.concurrent or node.if_not_exists:
        raise NoRecipe("its CREATE INDEX has no name, or is concurrent already")
    name = qualified_name(node.relation.schemaname, node.idxname)
    build = statement_sql(changed(node, concurrent=True))
    return Part(Phase.INDEX, build, f"DROP INDEX CONCURRENTLY IF EXISTS {name}")


# Columns.


def _add_column(relation: Node, subcommand: Node) -> Iterator[Part]:
    column = definition(subcommand).column_def
    given = constraints_of_column(column)
    _refuse_rewriting(column, given)
    plain = without_constraints(
        subcommand, {ConstrType.FOREIGN, ConstrType.CHECK, ConstrType.UNIQUE, *_ATTRIBUTES}
    )
    name = column.colname
    table = quoted_relation(relation)
    yield Part(
        Phase.SCHEMA,
        alter_table_sql(relation, plain),
        f"ALTER TABLE {table} DROP COLUMN {quote_identifier(name)}",
    )
    if (foreign_key := given.get(ConstrType.FOREIGN)) is not None:
        of_table = foreign_key_of(
            name,
            foreign_key,
            deferrable=ConstrType.ATTR_DEFERRABLE in given,
            deferred=ConstrType.ATTR_DEFERRED in given,
        )
        yield from _validated(relation, _named(of_table, relation, name, "fkey"))
    if (check := given.get(ConstrType.CHECK)) is not None:
        yield from _validated(relation, _named(check, relation, name, "check"))
    if (unique := given.get(ConstrType.UNIQUE)) is not None:
        yield from _unique_index(relation, _named(unique, relation, name, "key"), [name])


def _refuse_rewriting(column: Node, given: Mapping[int, Node]) -> None:
    kinds = [each.constraint.contype for each in column.constraints]
    if len(kinds) != len(set(kinds)):
        raise NoRecipe(f"the column {column.colname} has several constraints of one kind")
    for kind in (ConstrType.GENERATED, ConstrType.IDENTITY, ConstrType.PRIMARY):
        if kind in given:
            raise NoRecipe(f"the new column {column.colname} is {_WORDS[kind]}")
    if type_name(column) in _SERIALS:
        raise NoRecipe(f"the new column {column.colname} numbers the rows")
    default = given.get(ConstrType.DEFAULT)
    if default is not None and functions_called_in(default):
        raise NoRecipe(f"the default of the new column {column.colname} calls a function")


_WORDS = {
    ConstrType.GENERATED: "generated",
    ConstrType.IDENTITY: "an identity",
    ConstrType.PRIMARY: "a primary key",
}


def _named(constraint: Node, relation: Node, column: str, label: str) -> Node:
    name = constraint.conname or object_name(relation.relname, column, label)
    return changed(constraint, conname=name)


def _drop_default(relation: Node, subcommand: Node) -> Iterator[Part]:
    if definition(subcommand).WhichOneof("node"):
        raise NoRecipe(f"it changes the default of {subcommand.name}")
    yield Part(Phase.SCHEMA, alter_table_sql(relation, subcommand))


def _set_not_null(relation: Node, subcommand: Node) -> Iterator[Part]:
    """Yield NOT NULL by a CHECK that has been validated: then PostgreSQL reads nothing."""
    table, column = quoted_relation(relation), quote_identifier(subcommand.name)
    # PostgreSQL 18 gives the name "..._not_null" to the constraint that SET NOT NULL makes.
    check = quote_identifier(object_name(relation.relname, subcommand.name, "is_set"))
    drop = f"ALTER TABLE {table} DROP CONSTRAINT {check}"
    add = f"ALTER TABLE {table} ADD CONSTRAINT {check} CHECK ({column} IS NOT NULL) NOT VALID"
    yield Part(Phase.SCHEMA, add, f"ALTER TABLE {table} DROP CONSTRAINT IF EXISTS {check}")
    yield Part(Phase.VALIDATE, f"ALTER TABLE {table} VALIDATE CONSTRAINT {check}")
    yield Part(
        Phase.SWITCH,
        alter_table_sql(relation, subcommand),
        f"ALTER TABLE {table} ALTER COLUMN {column} DROP NOT NULL",
    )
    yield Part(Phase.SWITCH, drop, f"{add}")


# Constraints.


def _add_constraint(relation: Node, subcommand: Node) -> Iterator[Part]:
    constraint = definition(subcommand).constraint
    if constraint.skip_validation or constraint.indexname or not constraint.conname:
        raise NoRecipe("its constraint has no name, or is not validated at once")
    if constraint.contype in (ConstrType.CHECK, ConstrType.FOREIGN):
        yield from _validated(relation, constraint)
    elif constraint.contype == ConstrType.UNIQUE:
        yield from _unique_index(relation, constraint, strings(constraint.keys))
    else:
        kind = ConstrType(constraint.contype).name.lower()
        raise NoRecipe(f"it adds a constraint of the kind {kind}")


def _validated(relation: Node, constraint: Node) -> Iterator[Part]:
    table, name = quoted_relation(relation), quote_identifier(constraint.conname)
    yield Part(
        Phase.SCHEMA,
        alter_table_sql(relation, add_constraint(not_valid(constraint, constraint.conname))),
        f"ALTER TABLE {table} DROP CONSTRAINT {name}",
    )
    yield Part(Phase.VALIDATE, f"ALTER TABLE {table} VALIDATE CONSTRAINT {name}")


def _unique_index(relation: Node, constraint: Node, columns: list[str]) -> Iterator[Part]:
    if constraint.including or constraint.options or constraint.indexspace:
        raise NoRecipe(f"the constraint {constraint.conname} has INCLUDE, or storage options")
    table, name = quoted_relation(relation), quote_identifier(constraint.conname)
    keys = ", ".join(map(quote_identifier, columns))
    nulls = " NULLS NOT DISTINCT" if constraint.nulls_not_distinct else ""
    index = qualified_name(relation.schemaname, constraint.conname)
    yield Part(
        Phase.INDEX,
        f"CREATE UNIQUE INDEX CONCURRENTLY {name} ON {table} ({keys}){nulls}",
        f"DROP INDEX CONCURRENTLY IF EXISTS {index}",
    )
    deferrable = " DEFERRABLE" if constraint.deferrable else ""
    deferred = " INITIALLY DEFERRED" if constraint.initdeferred else ""
    use = f"ALTER TABLE {table} ADD CONSTRAINT {name} UNIQUE USING INDEX {name}"
    drop = f"ALTER TABLE {table} DROP CONSTRAINT {name}"
    yield Part(Phase.SWITCH, f"{use}{deferrable}{deferred}", drop)


_RULES: Mapping[int, Callable[[Node, Node], Iterator[Part]]] = {
    AlterTableType.AddColumn: _add_column,
    AlterTableType.ColumnDefault: _drop_default,
    AlterTableType.SetNotNull: _set_not_null,
    AlterTableType.AddConstraint: _add_constraint,
}
