"""INSERTs of two texts that differ in small and capital letters alone.

A release that takes a text for unique gives each row another one. Where the server comes to take
both for equal, by the type citext, a collation or an index on ``lower()``, the second is refused.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Set

from django.db.models import Model

from django_confiture.dry_run.running_code.catalog.table import Table
from django_confiture.dry_run.running_code.instances.values import is_text

_FOLDS = re.compile(r"\b(lower|upper|casefold)\(|citext", re.IGNORECASE)


def folded(model: type[Model], tables: Iterable[Table], varied: Set[str]) -> frozenset[str]:
    """Return the texts, of those ``varied`` in each row, of which case makes no other ones."""
    columns = frozenset(column for table in tables for column in _folded_of(table))
    fields = (each for each in model._meta.concrete_fields if each.name in varied)
    return frozenset(each.attname for each in fields if is_text(each) and each.column in columns)


def _folded_of(table: Table) -> Iterator[str]:
    for index in table.unique_indexes:
        by_index = bool(_FOLDS.search(index.definition))
        for name in index.columns:
            if by_index or (name in table.columns and table.columns[name].folds):
                yield name


def differing_in_case(text: str) -> tuple[str, str]:
    """Return two texts like one, the first with a small letter where the other has a capital."""
    if text.swapcase() != text:
        return text, text.swapcase()
    return f"a{text[1:]}", f"A{text[1:]}"
