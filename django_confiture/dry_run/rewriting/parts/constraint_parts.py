"""Constraints: added NOT VALID and validated later, or dropped."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import starmap

from django_confiture.dry_run.rewriting.facts import NOT_VALID, Facts, known_name
from django_confiture.dry_run.rewriting.files import NoRecipe
from django_confiture.dry_run.rewriting.names import object_name
from django_confiture.dry_run.rewriting.parts.index_parts import (
    unique_index_part,
    unique_index_parts,
)
from django_confiture.dry_run.rewriting.parts.parts import Part, Phase
from django_confiture.dry_run.sql.parsing.building import (
    add_constraint,
    alter_table_sql,
    changed,
    constraint_sql,
    not_valid,
)
from django_confiture.dry_run.sql.parsing.enums import ConstrType
from django_confiture.dry_run.sql.parsing.identifiers import qualified_name, quote_identifier
from django_confiture.dry_run.sql.parsing.nodes import (
    Node,
    columns_in,
    definition,
    quoted_relation,
    strings,
)

_LABELS = {
    ConstrType.CHECK: "check",
    ConstrType.FOREIGN: "fkey",
    ConstrType.PRIMARY: "pkey",
    ConstrType.UNIQUE: "key",
}


def add_constraint_parts(relation: Node, subcommand: Node, facts: Facts) -> Iterator[Part]:
    """Yield what ADD CONSTRAINT becomes."""
    constraint = definition(subcommand).constraint
    if constraint.skip_validation or constraint.indexname:
        raise NoRecipe("its constraint is not validated at once, or takes an index that is there")
    if not constraint.conname:
        constraint = changed(constraint, conname=_given_name(relation, constraint))
    if constraint.contype in (ConstrType.CHECK, ConstrType.FOREIGN):
        yield from validated(relation, constraint, facts)
    elif constraint.contype == ConstrType.UNIQUE:
        yield from unique_index_parts(relation, constraint, strings(constraint.keys), facts)
    elif constraint.contype == ConstrType.PRIMARY:
        yield unique_index_part(relation, constraint, strings(constraint.keys), facts)
        table, name = quoted_relation(relation), quote_identifier(constraint.conname)
        yield Part(
            Phase.SWITCH,
            f"ALTER TABLE {table} ADD CONSTRAINT {name} PRIMARY KEY USING INDEX {name}",
            f"ALTER TABLE {table} DROP CONSTRAINT {name}",
        )
    else:
        kind = ConstrType(constraint.contype).name.lower()
        raise NoRecipe(f"it adds a constraint of the kind {kind}")


def _given_name(relation: Node, constraint: Node) -> str:
    """Return the name that PostgreSQL gives a constraint without one, where it is still free."""
    columns = {
        ConstrType.UNIQUE: [*strings(constraint.keys), *strings(constraint.including)],
        ConstrType.FOREIGN: strings(constraint.fk_attrs),
        ConstrType.CHECK: sorted(columns_in(constraint.raw_expr)),
    }.get(constraint.contype, [])
    if constraint.contype == ConstrType.CHECK and len(columns) > 1:
        columns = []
    label = _LABELS.get(constraint.contype, "")
    return object_name(relation.relname, "_".join(columns), label)


def validated(relation: Node, constraint: Node, facts: Facts) -> Iterator[Part]:
    """Yield a constraint for new rows alone, and its validation."""
    if constraint.contype == ConstrType.FOREIGN and facts.in_partitions(relation):
        yield from _validated_by_partition(relation, constraint, facts)
        return
    table, name = quoted_relation(relation), quote_identifier(constraint.conname)
    yield Part(
        Phase.SCHEMA,
        alter_table_sql(relation, add_constraint(not_valid(constraint, constraint.conname))),
        f"ALTER TABLE {table} DROP CONSTRAINT {name}",
    )
    yield Part(Phase.VALIDATE, f"ALTER TABLE {table} VALIDATE CONSTRAINT {name}")


def _validated_by_partition(relation: Node, constraint: Node, facts: Facts) -> Iterator[Part]:
    """Yield a foreign key of each partition, then that of the whole, which takes them over.

    Before PostgreSQL 18 a partitioned table itself takes none NOT VALID.
    """
    partitions = facts.partitions.get(known_name(relation))
    if not partitions:
        raise NoRecipe(f"the partitions of {relation.relname} have partitions in turn")
    name = quote_identifier(constraint.conname)
    definition = constraint_sql(constraint)
    for each in starmap(qualified_name, partitions):
        yield Part(
            Phase.SCHEMA,
            f"ALTER TABLE {each} ADD CONSTRAINT {name} {definition}{NOT_VALID}",
            f"ALTER TABLE {each} DROP CONSTRAINT IF EXISTS {name}",
        )
        yield Part(Phase.VALIDATE, f"ALTER TABLE {each} VALIDATE CONSTRAINT {name}")
    table = f"ALTER TABLE {quoted_relation(relation)}"
    yield Part(
        Phase.SWITCH,
        f"{table} ADD CONSTRAINT {name} {definition}",
        f"{table} DROP CONSTRAINT {name}",
    )


def drop_constraint_part(relation: Node, subcommand: Node, facts: Facts) -> Part:
    """Return the part for DROP CONSTRAINT; it is reversed as the constraint is now."""
    before = facts.constraint(relation, subcommand.name)
    if before is None:
        raise NoRecipe(f"the constraint {subcommand.name} is not known")
    table, name = quoted_relation(relation), quote_identifier(subcommand.name)
    return Part(
        Phase.SWITCH,
        alter_table_sql(relation, subcommand),
        f"ALTER TABLE {table} ADD CONSTRAINT {name} {before}",
    )
