"""Rows that only one DELETE can take: they refer to each other, and don't go with each other."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterator

from django_confiture.dry_run.rewriting.facts import Facts
from django_confiture.dry_run.rewriting.files import NoRecipe

_FOREIGN_KEY = re.compile(r"FOREIGN KEY \((.+?)\) REFERENCES (.+?)\(")
_GOES_WITH = ("ON DELETE CASCADE", "ON DELETE SET NULL", "ON DELETE SET DEFAULT")


def refuse_rows_that_hold_each_other(
    deleted: Collection[str], facts: Facts, *, by_models: bool
) -> None:
    """Refuse batches of which one may delete a row that a row of a later one refers to.

    ``by_models`` says that Django deletes, which takes along what refers to a row by ``CASCADE``;
    else PostgreSQL does. ``deleted`` are the names of all tables that lose rows.
    """
    keys = {*_keys_between(deleted, facts)}
    from_one = Counter(table for table, _column, _to in keys)
    for table, column, to in sorted(keys):
        if not by_models:
            goes_along = table != to
        elif facts.cascades is None:  # a table with one such key has lost its rows by it
            goes_along = table != to and from_one[table] == 1
        else:
            goes_along = (table, column) in facts.cascades
        if not goes_along:
            raise NoRecipe(
                f"rows that it deletes refer to each other by {table}.{column}, which does not "
                "delete them along: batch by batch, PostgreSQL or Django would refuse. Empty the "
                "column first, in batches, or keep it in one transaction in a quiet hour"
            )


def _keys_between(tables: Collection[str], facts: Facts) -> Iterator[tuple[str, str, str]]:
    """Yield table, column and referenced table of the foreign keys between some tables."""
    for (table, _name), definition in facts.constraints.items():
        found = _FOREIGN_KEY.match(definition)
        if found is None or any(each in definition for each in _GOES_WITH):
            continue
        own, column, to = (_unquoted(each) for each in (table, *found.groups()))
        if own in tables and to in tables:
            yield own, column, to


def _unquoted(name: str) -> str:
    return name.rpartition(".")[2].replace('"', "")
