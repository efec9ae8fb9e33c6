"""New columns that number the rows, ``serial`` and identity: a sequence, and numbers in batches."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from django_confiture.dry_run.rewriting.facts import Facts, known_name
from django_confiture.dry_run.rewriting.files import NoRecipe, NumbersInPlace
from django_confiture.dry_run.rewriting.names import object_name
from django_confiture.dry_run.rewriting.parts.parts import Part, Phase
from django_confiture.dry_run.sql.parsing.building import type_sql
from django_confiture.dry_run.sql.parsing.enums import ConstrType
from django_confiture.dry_run.sql.parsing.identifiers import (
    qualified_name,
    quote_identifier,
    quote_literal,
)
from django_confiture.dry_run.sql.parsing.nodes import Node, quoted_relation, type_name

_SERIALS = {
    "serial": "integer",
    "serial4": "integer",
    "bigserial": "bigint",
    "serial8": "bigint",
    "smallserial": "smallint",
    "serial2": "smallint",
}
_GENERATED = {"a": "ALWAYS", "d": "BY DEFAULT"}


def numbers_rows(column: Node, given: Mapping[int, Node]) -> bool:
    """Return whether a new column is a ``serial``, or an identity."""
    return ConstrType.IDENTITY in given or type_name(column) in _SERIALS


def numbered_column_parts(
    relation: Node, column: Node, given: Mapping[int, Node], facts: Facts
) -> Iterator[Part]:
    """Yield the column and a sequence, the numbers in batches, then the default for new rows.

    New rows get none before: they would take numbers of those that are there. That it is NOT NULL
    is left to the caller, and so is :func:`identity_parts`.
    """
    if facts.in_partitions(relation):
        raise NoRecipe(f"{relation.relname} is partitioned, and {column.colname} numbers its rows")
    table, name = quoted_relation(relation), quote_identifier(column.colname)
    own = _SERIALS.get(type_name(column)) or type_sql(column.type_name)
    sequence = _sequence(relation, column, "numbers" if ConstrType.IDENTITY in given else "seq")
    alter = f"ALTER TABLE {table}"
    drop = f"DROP SEQUENCE IF EXISTS {sequence}"
    yield Part(Phase.SCHEMA, f"CREATE SEQUENCE {sequence} AS {own}", drop)
    add = f"{alter} ADD COLUMN {name} {own}"
    yield Part(Phase.SCHEMA, add, f"{alter} DROP COLUMN {name}")
    yield Part(Phase.SCHEMA, f"ALTER SEQUENCE {sequence} OWNED BY {table}.{name}")
    number = f"nextval({quote_literal(sequence)})"
    fill = f"UPDATE {table} SET {name} = {number} WHERE {name} IS NULL"
    batches = _numbers(relation, fill, facts)
    yield Part(Phase.FILL, fill, batches=batches)
    yield Part(Phase.CHECK, f"{alter} ALTER COLUMN {name} SET DEFAULT {number}")
    yield Part(Phase.FILL_AGAIN, fill, batches=batches)


def identity_parts(relation: Node, column: Node, given: Mapping[int, Node]) -> Iterator[Part]:
    """Yield the identity in the place of the sequence, and where this had come to."""
    identity = given.get(ConstrType.IDENTITY)
    if identity is None:
        return
    if identity.options:
        raise NoRecipe(f"the new column {column.colname} is an identity with options")
    table, name = quoted_relation(relation), quote_identifier(column.colname)
    before = _sequence(relation, column, "numbers")
    own = _sequence(relation, column, "seq")
    alter = f"ALTER TABLE {table} ALTER COLUMN {name}"
    generated = _GENERATED[identity.generated_when]
    yield Part(Phase.SWITCH, f"{alter} DROP DEFAULT")
    yield Part(
        Phase.SWITCH,
        f"{alter} ADD GENERATED {generated} AS IDENTITY (SEQUENCE NAME {own})",
        f"{alter} DROP IDENTITY",
    )
    last = f"setval({quote_literal(own)}, last_value, is_called)"
    yield Part(Phase.SWITCH, f"SELECT {last} FROM {before}")
    yield Part(Phase.SWITCH, f"DROP SEQUENCE {before}")


def _numbers(relation: Node, fill: str, facts: Facts) -> NumbersInPlace:
    """Return the batches by where the rows lie, if it is not the migration that moves them."""
    if known_name(relation) in facts.written:
        raise NoRecipe(
            f"the migration writes to {relation.relname}, and so moves its rows, which are "
            "numbered by where they lie: number them in a separate migration"
        )
    pages = "ctid >= %(low)s::tid AND ctid < %(high)s::tid"
    return NumbersInPlace(f"{fill.replace('%', '%%')} AND {pages}", quoted_relation(relation))


def _sequence(relation: Node, column: Node, label: str) -> str:
    return qualified_name(relation.schemaname, object_name(relation.relname, column.colname, label))
