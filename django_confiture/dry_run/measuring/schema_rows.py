"""Parses what the server answers about the schema: objects, and how many rows they are made of."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from django_confiture.dry_run.measuring.schema_objects import Owner, Schema, SchemaObject

if TYPE_CHECKING:
    from django_confiture.dry_run.server.side_channel import Row


@dataclass(frozen=True)
class OwnedRows:
    """How many catalog rows each owner has."""

    rows: Mapping[Owner, int]
    written: set[Owner]
    """Those of which a row is new."""

    @classmethod
    def of(cls, answer: list[Row]) -> OwnedRows:
        """Parse the rows of the query."""
        known = [((kind == "t", int(oid or 0)), count, new) for kind, oid, count, new in answer]
        return cls(
            {owner: int(count or 0) for owner, count, _new in known},
            {owner for owner, _count, new in known if new == "t"},
        )


@dataclass(frozen=True)
class Counted:
    """How many catalog rows owners had when they were counted last."""

    rows: Mapping[Owner, int]
    written_since: frozenset[Owner] = frozenset()
    """Of these it is not known any more."""

    def written(self, owners: Iterable[Owner]) -> Counted:
        """Return the same once rows of these owners were written."""
        return replace(self, written_since=self.written_since.union(owners))

    def fewer(self, now: Mapping[Owner, int]) -> Iterator[Owner]:
        """Yield the owners that may have fewer rows now."""
        yield from self.written_since
        yield from (owner for owner, count in self.rows.items() if now.get(owner, 0) < count)


def by_owner(rows: Iterable[tuple[bool, list[Row]]]) -> Schema:
    """Return objects by owner; each list of rows comes with whether its owners are relations."""
    found: defaultdict[Owner, list[SchemaObject]] = defaultdict(list)
    for of_relation, objects in rows:
        for kind, key, owner, version, relation, name, definition in objects:
            found[of_relation, int(owner or 0)].append(
                SchemaObject(kind or "", key or "", version, relation, name or "", definition or "")
            )
    return {owner: tuple(objects) for owner, objects in found.items()}
