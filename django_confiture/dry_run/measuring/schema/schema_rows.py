"""Parses what the server answers about the schema: objects, and how many rows they are made of."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from django_confiture.dry_run.measuring.schema.schema_objects import Owner, Schema, SchemaObject
from django_confiture.dry_run.measuring.schema.schema_row_queries import CATALOGS, Place

if TYPE_CHECKING:
    from django_confiture.dry_run.server.side_channel import Row


EACH = [True for _catalog in CATALOGS]


@dataclass(frozen=True)
class State:
    """What one small query tells about the transaction."""

    written: Sequence[int] | None
    """How many rows it wrote to each catalog; None where that is not known."""
    deleted: Sequence[int] | None
    """How many rows of each catalog it deleted."""
    newest: str
    """No transaction that begins to write from now on has an older id."""
    search_path: str


def figures(text: str | None) -> Sequence[int]:
    """Parse the figures of all catalogs."""
    found: list[int] = json.loads(text or "[]")
    return found


def changed(before: Sequence[int] | None, now: Sequence[int] | None) -> Sequence[bool]:
    """Return for each catalog whether its figure may have changed."""
    if before is None or now is None:
        return EACH
    return [old != new for old, new in zip(before, now, strict=True)]


Counts = Mapping[Place, str]
"""How many rows owners have in some catalogs: a text for each."""


def counts_of(answer: Iterable[Row]) -> Counts:
    """Parse the rows of the query."""
    return {(int(catalog or 0), kind == "t"): text or "" for catalog, kind, text in answer}


def relations_in(counts: Counts, catalog: int) -> set[Owner]:
    """Return the relations that have rows in a catalog."""
    return {(True, oid) for oid in _numbers(counts.get((catalog, True), "").split(","))}


class Counted:
    """How many rows owners had in each catalog when it was counted last."""

    def __init__(self, counts: Counts) -> None:
        self._counts = {place: {*text.split(",")} for place, text in counts.items()}
        self._written: list[frozenset[Owner]] = []
        """The owners of which rows were written, in the order of time."""
        self._counted_at = dict.fromkeys(counts, 0)
        """How many of these are older than the count of a catalog."""

    def written(self, owners: Iterable[Owner]) -> None:
        """Note that rows of these owners were written: their number is not known any more."""
        self._written.append(frozenset(owners))

    def lost(self, counts: Counts) -> set[Owner]:
        """Return the owners that may have fewer rows in the catalogs that are counted now."""
        found: set[Owner] = set()
        for place, text in counts.items():
            of_relation = place[1]
            for since in self._written[self._counted_at[place] :]:
                found.update(owner for owner in since if owner[0] is of_relation)
            before, now = self._counts[place], {*text.split(",")}
            self._counts[place] = now
            self._counted_at[place] = len(self._written)
            numbers = _numbers(now - before)
            found.update(
                (of_relation, oid)
                for oid, number in _numbers(before - now).items()
                if numbers.get(oid, 0) < number
            )
        return found


def _numbers(counts: Iterable[str]) -> dict[int, int]:
    """Return how many rows each owner has by its part of a catalog's text."""
    pairs = (each.split() for each in counts if each)
    return {int(oid): int(number) for oid, number in pairs}


def by_owner(rows: Iterable[tuple[bool, list[Row]]]) -> Schema:
    """Return objects by owner; each list of rows comes with whether its owners are relations."""
    found: defaultdict[Owner, list[SchemaObject]] = defaultdict(list)
    for of_relation, objects in rows:
        for kind, key, owner, version, relation, name, definition in objects:
            found[of_relation, int(owner or 0)].append(
                SchemaObject(kind or "", key or "", version, relation, name or "", definition or "")
            )
    return {owner: tuple(objects) for owner, objects in found.items()}
