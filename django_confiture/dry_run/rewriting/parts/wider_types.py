"""Types that PostgreSQL only notes: a longer varchar, more digits of a numeric."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from django_confiture.dry_run.rewriting.facts import known_name
from django_confiture.dry_run.sql.parsing.nodes import Node, definition, strings
from django_confiture.dry_run.sql.parsing.parser import parse


class _Known(Protocol):
    """What is known of the database; keys and values as in the recipes' facts."""

    @property
    def types(self) -> Mapping[tuple[str, str], str]: ...

    @property
    def indexes(self) -> Mapping[str, str]: ...

    @property
    def constraints(self) -> Mapping[tuple[str, str], str]: ...


def is_only_noted(relation: Node, subcommand: Node, known: _Known) -> bool:
    """Return whether an ALTER COLUMN ... TYPE reads no row, whatever its statement does besides.

    PostgreSQL verifies the CHECKs that name the column again, and builds the indexes again that
    compute something of it: a column that may have such is not said to be only noted.
    """
    table, name = known_name(relation), subcommand.name
    column = definition(subcommand).column_def
    before = known.types.get((table, name), "")
    if not before or " COLLATE " in before or column.HasField("coll_clause"):
        return False
    checks = (text for (of, _), text in known.constraints.items() if of == table)
    return (
        _is_wider(_type_named(before), column.type_name)
        and not any(text.startswith("CHECK") and name in text for text in checks)
        and not any(name in text and _computes(text) for text in known.indexes.values())
    )


def _is_wider(before: Node, after: Node) -> bool:
    """Return whether all values of a type are values of another, in the same bytes."""
    (kind, sizes), (new_kind, new_sizes) = map(_name_and_sizes, (before, after))
    if before.array_bounds or after.array_bounds:
        return bool(before.array_bounds and after.array_bounds) and (kind, sizes) == (
            new_kind,
            new_sizes,
        )
    match kind, sizes, new_kind, new_sizes:
        case "varchar", _, "varchar" | "text", []:
            return True
        case "varchar", [length], "varchar", [new_length]:
            return length <= new_length
        case "numeric", [_, _], "numeric", []:
            return True
        case "numeric", [digits, scale], "numeric", [new_digits, new_scale]:
            return scale == new_scale and digits <= new_digits
    return (kind, sizes) == (new_kind, new_sizes)


def _type_named(sql: str) -> Node:
    (statement,) = parse(f"SELECT NULL::{sql}", placeholders=False)
    return statement.node.select_stmt.target_list[0].res_target.val.type_cast.type_name


def _name_and_sizes(type_name: Node) -> tuple[str, list[int]]:
    """Return a type's name, and what stands behind it in brackets."""
    return strings(type_name.names)[-1], [each.a_const.ival.ival for each in type_name.typmods]


def _computes(create_index: str) -> bool:
    (statement,) = parse(create_index, placeholders=False)
    index = statement.node.index_stmt
    return index.HasField("where_clause") or any(
        each.index_elem.HasField("expr") for each in index.index_params
    )
