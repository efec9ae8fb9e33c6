"""The objects of a schema as plain data, and the differences between two readings of them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from django_confiture.dry_run.results import SchemaChange

Owner = tuple[bool, int]
"""Whether it is a relation, and its OID."""


@dataclass(frozen=True)
class SchemaObject:
    """One object of the schema."""

    kind: str
    key: str
    """The same as long as the object lives: its OID, for a column also its number."""
    version: str | None
    """Where its catalog rows are; None where its definition alone tells whether it changed."""
    relation: str | None
    """The table that it belongs to."""
    name: str
    definition: str

    def is_as(self, before: SchemaObject) -> bool:
        """Return whether it is unchanged.

        A definition names other objects, which may have another name now: that changes the
        text, but not the catalog row.
        """
        if self.version is not None and self.version == before.version:
            return True
        return (self.name, self.definition) == (before.name, before.definition)


Schema = Mapping[Owner, tuple[SchemaObject, ...]]


def differences(before: Schema, after: Schema) -> tuple[SchemaChange, ...]:
    """Return what was added, removed, renamed and changed, but not what was made again."""
    old = {(each.kind, each.key): each for objects in before.values() for each in objects}
    new = {(each.kind, each.key): each for objects in after.values() for each in objects}
    pairs = [(old.pop(key), new.pop(key)) for key in [*new] if key in old]
    named = {(each.kind, each.relation, each.name): key for key, each in old.items()}
    for key, each in [*new.items()]:
        replaced = named.pop((each.kind, each.relation, each.name), None)
        if replaced is not None:
            pairs.append((old.pop(replaced), new.pop(key)))
    changes = [
        *(_removed(each) for each in old.values()),
        *(_added(each) for each in new.values()),
        *(change for was, now in pairs for change in _changed(was, now)),
    ]
    return tuple(sorted(changes, key=_sort_key))


def reordered(before: Schema, after: Schema) -> tuple[str, ...]:
    """Return the tables with the same columns in another order."""
    old, new = _columns_by_table(before), _columns_by_table(after)
    return tuple(
        sorted(
            table
            for table, columns in new.items()
            if columns != old.get(table, columns) and sorted(columns) == sorted(old[table])
        )
    )


def _columns_by_table(schema: Schema) -> dict[str, list[str]]:
    found: defaultdict[str, list[tuple[int, str]]] = defaultdict(list)
    for objects in schema.values():
        for each in objects:
            if each.kind == "column" and each.relation is not None:
                found[each.relation].append((int(each.key.partition(".")[2]), each.name))
    return {table: [name for _, name in sorted(columns)] for table, columns in found.items()}


def _added(each: SchemaObject) -> SchemaChange:
    return SchemaChange("added", each.kind, each.relation, each.name, None, each.definition)


def _removed(each: SchemaObject) -> SchemaChange:
    return SchemaChange("removed", each.kind, each.relation, each.name, each.definition, None)


def _changed(was: SchemaObject, now: SchemaObject) -> Iterator[SchemaChange]:
    if now.is_as(was):
        return
    if now.name != was.name:
        yield SchemaChange("renamed", now.kind, now.relation, now.name, was.name, now.name)
    if now.definition != was.definition:
        yield SchemaChange(
            "changed", now.kind, now.relation, now.name, was.definition, now.definition
        )


_FREE = ("extension", "schema", "type", "domain", "collation", "function")
_TABLES = ("table", "view", "materialized view")


def _sort_key(change: SchemaChange) -> tuple[bool, str, bool, bool, str, str, str]:
    """Sort by table; the table before its columns, these before everything else of it."""
    return (
        change.object not in _FREE,
        change.relation or change.name,
        change.object not in _TABLES,
        change.object != "column",
        change.object,
        change.name,
        change.kind,
    )
