"""The INSERTs that make rows."""

from __future__ import annotations

from django_confiture.dry_run.running_code.catalog.known_rows import Row
from django_confiture.dry_run.running_code.catalog.table import Table
from django_confiture.dry_run.sql.parsing.identifiers import quote_literal


def quoted(name: str) -> str:
    """Return an identifier in quotes."""
    return '"' + name.replace('"', '""') + '"'


def insert_of(table: Table, values: Row) -> str:
    """Return the INSERT of some values."""
    if not values:
        return f"INSERT INTO {table.name} DEFAULT VALUES RETURNING *"
    names = ", ".join(map(quoted, values))
    given = ", ".join(map(literal, values.values()))
    return (
        f"INSERT INTO {table.name} ({names}) OVERRIDING SYSTEM VALUE VALUES ({given}) RETURNING *"
    )


def copy_of(table: Table, values: Row) -> str:
    """Return the INSERT of the first row that is there, with some other values."""
    columns = [each for each in table.columns.values() if not each.generated]
    names = ", ".join(quoted(each.name) for each in columns)
    given = ", ".join(
        f"{literal(values[each.name])}::{each.type}"
        if each.name in values
        else f"t.{quoted(each.name)}"
        for each in columns
    )
    order = ", ".join(f"t.{quoted(name)}" for name in table.primary_key)
    return (
        f"INSERT INTO {table.name} ({names}) OVERRIDING SYSTEM VALUE SELECT {given}"
        f" FROM {table.name} t {f'ORDER BY {order}' if order else ''} LIMIT 1 RETURNING *"
    )


def literal(value: str | None) -> str:
    """Return a value as a literal, whatever ``standard_conforming_strings`` is."""
    return "NULL" if value is None else quote_literal(value)
