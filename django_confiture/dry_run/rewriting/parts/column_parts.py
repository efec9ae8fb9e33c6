"""New columns, and columns that become NOT NULL."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from django_confiture.dry_run.rewriting.batching import batches_of
from django_confiture.dry_run.rewriting.facts import Facts
from django_confiture.dry_run.rewriting.files import NoRecipe
from django_confiture.dry_run.rewriting.names import object_name
from django_confiture.dry_run.rewriting.parts.constraint_parts import validated
from django_confiture.dry_run.rewriting.parts.index_parts import unique_index_parts
from django_confiture.dry_run.rewriting.parts.numbered_columns import (
    identity_parts,
    numbered_column_parts,
    numbers_rows,
)
from django_confiture.dry_run.rewriting.parts.parts import Part, Phase
from django_confiture.dry_run.sql.parsing.building import (
    alter_table_sql,
    changed,
    foreign_key_of,
    references_renamed,
    set_default,
    without_constraints,
)
from django_confiture.dry_run.sql.parsing.enums import ConstrType
from django_confiture.dry_run.sql.parsing.identifiers import quote_identifier
from django_confiture.dry_run.sql.parsing.nodes import (
    Node,
    constraints_of_column,
    definition,
    quoted_relation,
    strings,
)
from django_confiture.dry_run.sql.parsing.parser import parse

_ATTRIBUTES = {
    ConstrType.ATTR_DEFERRABLE,
    ConstrType.ATTR_NOT_DEFERRABLE,
    ConstrType.ATTR_DEFERRED,
    ConstrType.ATTR_IMMEDIATE,
}
"""In a column's definition these follow their foreign key as if they were constraints."""
_LATER = {ConstrType.FOREIGN, ConstrType.CHECK, ConstrType.UNIQUE, *_ATTRIBUTES}
_WORDS = {
    ConstrType.GENERATED: "generated",
    ConstrType.PRIMARY: "a primary key",
}


def add_column_parts(
    relation: Node, subcommand: Node, facts: Facts, *, rewrites: bool
) -> Iterator[Part]:
    """Yield the column by itself, then its constraints; ``rewrites`` where its default does."""
    column = definition(subcommand).column_def
    given = constraints_of_column(column)
    _refuse_what_has_no_other_form(column, given)
    if numbers_rows(column, given):
        yield from numbered_column_parts(relation, column, given, facts)
        yield from not_null_parts(relation, column.colname)
        yield from identity_parts(relation, column, given)
    elif rewrites:
        yield from _filled_column(relation, subcommand, given, facts)
    else:
        yield _plain_column(relation, subcommand, _LATER)
    yield from _constraints(relation, column.colname, given, facts)


def own_values_parts(relation: Node, subcommand: Node, facts: Facts) -> Iterator[Part]:
    """Yield what is left of a new column's definition once the column is there, and filled."""
    column = definition(subcommand).column_def
    given = constraints_of_column(column)
    _refuse_what_has_no_other_form(column, given)
    if ConstrType.NOTNULL in given:
        yield from not_null_parts(relation, column.colname)
    yield from _constraints(relation, column.colname, given, facts)


def _plain_column(relation: Node, subcommand: Node, without: set[ConstrType]) -> Part:
    name = quote_identifier(definition(subcommand).column_def.colname)
    return Part(
        Phase.SCHEMA,
        alter_table_sql(relation, without_constraints(subcommand, without)),
        f"ALTER TABLE {quoted_relation(relation)} DROP COLUMN {name}",
    )


def _filled_column(
    relation: Node, subcommand: Node, given: Mapping[int, Node], facts: Facts
) -> Iterator[Part]:
    """Yield the column as NULL, its default for new rows, and the other rows in batches."""
    column = definition(subcommand).column_def
    if ConstrType.DEFAULT not in given:
        raise NoRecipe(f"the new column {column.colname} rewrites the table")
    yield _plain_column(relation, subcommand, {*_LATER, ConstrType.DEFAULT, ConstrType.NOTNULL})
    default = set_default(column, given[ConstrType.DEFAULT])
    yield Part(Phase.SCHEMA, alter_table_sql(relation, default))
    table, name = quoted_relation(relation), quote_identifier(column.colname)
    fill = f"UPDATE {table} SET {name} = DEFAULT WHERE {name} IS NULL"
    (statement,) = parse(fill, placeholders=False)
    yield Part(Phase.FILL, fill, batches=batches_of(statement, facts))
    if ConstrType.NOTNULL in given:
        yield from not_null_parts(relation, column.colname)


def _constraints(
    relation: Node, name: str, given: Mapping[int, Node], facts: Facts
) -> Iterator[Part]:
    if (foreign_key := given.get(ConstrType.FOREIGN)) is not None:
        of_table = foreign_key_of(
            name,
            foreign_key,
            deferrable=ConstrType.ATTR_DEFERRABLE in given,
            deferred=ConstrType.ATTR_DEFERRED in given,
        )
        of_table = references_renamed(of_table, facts.moved(of_table.pktable))
        yield from validated(relation, _constraint_named(of_table, relation, name, "fkey"), facts)
        if facts.releases == 2 and not given.keys() & {ConstrType.NOTNULL, ConstrType.DEFAULT}:
            yield from _deletable_meanwhile(relation, name, of_table, facts)
    if (check := given.get(ConstrType.CHECK)) is not None:
        yield from validated(relation, _constraint_named(check, relation, name, "check"), facts)
    if (unique := given.get(ConstrType.UNIQUE)) is not None:
        yield from unique_index_parts(
            relation, _constraint_named(unique, relation, name, "key"), [name], facts
        )


def _deletable_meanwhile(
    relation: Node, name: str, foreign_key: Node, facts: Facts
) -> Iterator[Part]:
    """Yield a second foreign key, until the next release, that empties the column.

    Running code does not know the column, so it deletes rows that others refer to. The foreign key
    itself is checked at the commit, when there is nothing to refuse any more.
    """
    if foreign_key.pktable.relname not in facts.undeletable:
        return
    table, column = quoted_relation(relation), quote_identifier(name)
    constraint = quote_identifier(object_name(relation.relname, name, "meanwhile"))
    drop = f"ALTER TABLE {table} DROP CONSTRAINT {constraint}"
    to = ", ".join(quote_identifier(each) for each in strings(foreign_key.pk_attrs))
    add = (
        f"ALTER TABLE {table} ADD CONSTRAINT {constraint} FOREIGN KEY ({column})"
        f" REFERENCES {quoted_relation(foreign_key.pktable)} ({to}) ON DELETE SET NULL"
        " DEFERRABLE INITIALLY DEFERRED NOT VALID"
    )
    yield Part(Phase.SCHEMA, add, drop)
    yield Part(Phase.NEXT_RELEASE, drop, add)


def _refuse_what_has_no_other_form(column: Node, given: Mapping[int, Node]) -> None:
    kinds = [each.constraint.contype for each in column.constraints]
    if len(kinds) != len(set(kinds)):
        raise NoRecipe(f"the column {column.colname} has several constraints of one kind")
    for kind, words in _WORDS.items():
        if kind in given:
            raise NoRecipe(f"the new column {column.colname} is {words}")


def _constraint_named(constraint: Node, relation: Node, column: str, label: str) -> Node:
    name = constraint.conname or object_name(relation.relname, column, label)
    return changed(constraint, conname=name)


def not_null_parts(relation: Node, name: str) -> Iterator[Part]:
    """Yield NOT NULL by a CHECK that has been validated: then PostgreSQL reads nothing."""
    table, column = quoted_relation(relation), quote_identifier(name)
    # PostgreSQL 18 gives the name "..._not_null" to the constraint that SET NOT NULL makes.
    check = quote_identifier(object_name(relation.relname, name, "is_set"))
    drop = f"ALTER TABLE {table} DROP CONSTRAINT {check}"
    add = f"ALTER TABLE {table} ADD CONSTRAINT {check} CHECK ({column} IS NOT NULL) NOT VALID"
    yield Part(Phase.CHECK, add, f"ALTER TABLE {table} DROP CONSTRAINT IF EXISTS {check}")
    yield Part(Phase.VALIDATE, f"ALTER TABLE {table} VALIDATE CONSTRAINT {check}")
    alter = f"ALTER TABLE {table} ALTER COLUMN {column}"
    yield Part(Phase.SWITCH, f"{alter} SET NOT NULL", f"{alter} DROP NOT NULL")
    yield Part(Phase.SWITCH, drop, add)
