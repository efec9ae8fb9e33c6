"""The order of the steps."""

from __future__ import annotations

from django.db.migrations import RunSQL

from django_confiture.fix.ordering import replacements_first
from django_confiture.fix.proposal import Step


def drops(origin: int, name: str) -> Step:
    return Step(origin, RunSQL(""), dropped=frozenset({name}))


def makes(origin: int, name: str) -> Step:
    return Step(origin, RunSQL(""), made=frozenset({name}))


def order(*steps: Step) -> list[int]:
    return [each.origin for each in replacements_first(steps)]


def test_what_replaces_comes_before_what_goes() -> None:
    assert order(drops(0, "a"), drops(1, "b"), makes(2, "c"), makes(3, "d")) == [2, 3, 0, 1]


def test_a_name_has_to_be_free_first() -> None:
    assert order(drops(0, "a"), makes(1, "b"), makes(2, "a")) == [1, 0, 2]


def test_nothing_goes_past_a_step_that_does_more() -> None:
    assert order(drops(0, "a"), Step(1, RunSQL("")), makes(2, "b")) == [0, 1, 2]
