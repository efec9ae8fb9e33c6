"""Values for columns that are known from the catalogs alone."""

from __future__ import annotations

from django_confiture.dry_run.running_code.catalog.numbers import uuid_of
from django_confiture.dry_run.running_code.catalog.table import TableColumn


def made_up(column: TableColumn) -> str | None:
    """Return a value that most columns of the type take, as the server reads it."""
    if column.label is not None:
        return column.label
    if column.base in _BY_NAME:
        return _BY_NAME[column.base]
    return _BY_CATEGORY.get(column.category)


_BY_NAME = {
    "uuid": "00000000-0000-0000-0000-000000000001",
    "json": "{}",
    "jsonb": "{}",
    "bytea": "x",
    "xml": "<x/>",
    "macaddr": "08:00:2b:01:02:03",
    "time": "00:00",
    "timetz": "00:00+00",
    "bit": "0",
}
_BY_CATEGORY = {
    "A": "{}",
    "B": "true",
    "D": "2001-02-03",
    "I": "127.0.0.1",
    "N": "1",
    "R": "empty",
    "S": "x",
    "T": "1 day",
    "U": "",
    "V": "0",
}


def unlike_any(column: TableColumn, number: int, *, small: bool = False) -> str:
    """Return the value for a large ``number``, which no row is likely to have.

    A release may know a number by the type that its column has before or after the plan: it fits
    that, too. ``small`` says that one of them is a number of two bytes.
    """
    if column.category == "N":
        limit = 2**15 if small or column.base in ("int2", "numeric") else 2**31
        return str(limit - 1 - number % (limit // 4))
    if column.category == "S":
        length = column.length - 4 if column.length > 4 else 36
        return str(uuid_of(number))[:length]  # which a release may know as a UUID
    if column.category == "D":
        year, day = 1000 + number % 900, 1 + number // 900 % 28
        return f"{year}-02-{day:02}"
    return str(uuid_of(number))
