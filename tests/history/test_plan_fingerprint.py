"""What a plan is known by: the same plan has the same fingerprint in every process."""

from __future__ import annotations

import logging
from functools import partial
from typing import Any

import pytest
from django.db import migrations
from pytest_django import Settings

from django_confiture.history.plan_fingerprint import fingerprint_of, settings_hash
from django_confiture.migration_files import source_hash
from tests.cases.migrations_on_disk import Cases

SELECT_1 = migrations.RunSQL("SELECT 1")


def test_it_changes_with_the_source_and_with_nothing_else(cases: Cases) -> None:
    cases.add("0001_one", SELECT_1)
    plan = [("cases.0001_one", "forward")]
    before = fingerprint_of(plan)
    assert fingerprint_of(plan) == before
    file = cases.package / "0001_one.py"
    file.write_text(f"{file.read_text()}# SELECT 2\n")
    assert fingerprint_of(plan)["migrations"] != before["migrations"]
    assert fingerprint_of(plan)["settings"] == before["settings"]


def test_the_direction_is_part_of_it(cases: Cases) -> None:
    cases.add("0001_one", SELECT_1)
    forward, backward = ([("cases.0001_one", each)] for each in ("forward", "backward"))
    assert fingerprint_of(forward) != fingerprint_of(backward)


@pytest.mark.parametrize("label", ["cases.0009_gone", "nowhere.0001_initial", "cases.not.a.module"])
def test_a_source_that_can_not_be_read_has_none(cases: Cases, label: str) -> None:
    cases.add("0001_one", SELECT_1)
    assert source_hash(label) == ""
    assert fingerprint_of([("cases.0001_one", "forward"), (label, "forward")]) == {}


@pytest.mark.parametrize(
    ("one", "same", "other"),
    [
        ({"x": {"a", "b", "c"}}, {"x": {"c", "b", "a"}}, {"x": {"a"}}),
        (
            {"x": partial(int, "7", base=8)},
            {"x": partial(int, "7", base=8)},
            {"x": partial(int, "7", base=9)},
        ),
        ({"x": logging.Handler}, {"x": logging.Handler}, {"x": logging.Formatter}),
        ({"x": 1.5}, {"x": 1.5}, {"x": 1.25}),
    ],
    ids=["set", "partial", "class", "number"],
)
def test_settings_are_compared_by_value(
    settings: Settings, one: Any, same: Any, other: Any
) -> None:
    def hashed(value: Any) -> str:
        settings.CONFITURE = value
        return settings_hash()

    assert hashed(one) == hashed(same) != hashed(other)
