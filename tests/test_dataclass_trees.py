"""Dataclasses to JSON and back, and with other texts."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

import pytest

from django_confiture.dataclass_trees import (
    field_types,
    from_json_values,
    to_json_values,
    with_texts,
)


@dataclass(frozen=True)
class Leaf:
    name: str
    size: float | None = None


@dataclass(frozen=True)
class Tree:
    leaf: Leaf
    leaves: tuple[Leaf, ...] = ()
    other: Leaf | None = None
    pair: tuple[tuple[str, int], ...] = ()
    settings: Mapping[str, float] = field(default_factory=dict)


TREE = Tree(Leaf("a", 1.23456), (Leaf("b"), Leaf("c", 2.0)), Leaf("d"), (("e", 1),), {"f": 0.0025})


def test_to_json() -> None:
    assert to_json_values(TREE) == {
        "leaf": {"name": "a", "size": 1.235},
        "leaves": [{"name": "b", "size": None}, {"name": "c", "size": 2.0}],
        "other": {"name": "d", "size": None},
        "pair": [["e", 1]],
        "settings": {"f": 0.0025},
    }


def test_a_moment_is_in_seconds() -> None:
    moment = datetime(2026, 1, 2, 3, 4, 5, 678, tzinfo=UTC)
    assert to_json_values({"at": moment}) == {"at": "2026-01-02T03:04:05+00:00"}


def test_there_and_back() -> None:
    document = json.loads(json.dumps(to_json_values(TREE)))
    again = from_json_values(Tree, document)
    assert to_json_values(again) == document
    assert isinstance(again.leaves[1], Leaf)
    assert isinstance(again.other, Leaf)


def test_what_is_missing_has_its_default() -> None:
    assert from_json_values(Tree, {"leaf": {"name": "a"}, "new": 1}) == Tree(Leaf("a"))
    with pytest.raises(TypeError, match="name"):
        from_json_values(Tree, {"leaf": {}})
    with pytest.raises(TypeError, match="'a' is not a Leaf"):
        from_json_values(Tree, {"leaf": "a"})


def test_other_texts() -> None:
    changed = with_texts(TREE, str.upper)
    assert (changed.leaf.name, changed.leaves[0].name, changed.pair) == ("A", "B", (("E", 1),))
    assert changed.leaf.size == TREE.leaf.size
    assert TREE.leaf.name == "a"


def test_types_of_fields() -> None:
    assert list(field_types(Leaf).items()) == [("name", str), ("size", float | None)]
