"""Two changes of one integer or foreign key: code that is printed does all of both."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations
from typing import Any

import pytest
from django.db import models
from django.db.migrations.operations.base import Operation

from django_confiture.dry_run.findings.advice.of_operations import SOLVED
from tests.corpus.database import corpus
from tests.dry_run.findings.test_advice import (
    _add,
    _end,
    _findings,
    _models,
    _of,
    _patient,
    pasted,
)
from tests.support.dry_run import migration, rehearse

__all__ = ["corpus"]

INTEGER: dict[str, dict[str, Any]] = {
    "positive": {"kind": models.PositiveIntegerField},
    "bigger": {"kind": models.BigIntegerField},
    "NULL": {"null": True},
    "index": {"db_index": True},
    "unique": {"unique": True},
    "default": {"default": 7},
    "database default": {"db_default": 8},
    "column": {"db_column": "Sum"},
}
KEY: dict[str, dict[str, Any]] = {
    "NOT NULL": {"null": False},
    "one to one": {"kind": models.OneToOneField},
    "no index": {"db_index": False},
    "no constraint": {"db_constraint": False},
    "protect": {"on_delete": models.PROTECT},
    "default": {"default": 7},
    "column": {"db_column": "Customer No"},
}
WITH_CODE = """
add integer: positive and NULL; positive and default; positive and database default;
  NULL and index; NULL and unique; index and default; index and database default
alter integer: positive and NULL; positive and index; positive and unique; positive and default;
  NULL and index; NULL and unique; index and unique; index and default; unique and default;
  positive and database default; index and database default; unique and database default
add key: NOT NULL and default; one to one and no index; one to one and no constraint;
  one to one and protect; one to one and column; no index and default; no constraint and protect;
  no constraint and default; no constraint and column; protect and default; protect and column;
  default and column
alter key: NOT NULL and no index; no index and no constraint; no index and protect;
  no index and default; protect and default
"""
"""Of the others, some harm no one, some fail on these rows, and some get words."""
OFTEN = ("alter integer: positive and index", "alter key: no index and default")


def _integer(pair: tuple[str, str]) -> Any:
    options: dict[str, Any] = {"kind": models.IntegerField}
    for each in pair:
        options |= INTEGER[each]
    return options.pop("kind")(**options)


def _key(pair: tuple[str, str]) -> Any:
    options: dict[str, Any] = {"kind": models.ForeignKey, "null": True, "on_delete": models.CASCADE}
    for each in pair:
        options |= KEY[each]
    return options.pop("kind")("cases.Customer", **options)


def _operations() -> Iterator[tuple[str, Operation]]:
    for pair in combinations(INTEGER, 2):
        yield f"add integer: {' and '.join(pair)}", _add(_integer(pair))
        yield f"alter integer: {' and '.join(pair)}", _of("total", _integer(pair))
    for pair in combinations(KEY, 2):
        yield f"add key: {' and '.join(pair)}", _add(_key(pair))
        yield f"alter key: {' and '.join(pair)}", _of("customer", _key(pair))


OPERATIONS = dict(_operations())


def _with_code() -> Iterator[str]:
    for paragraph in WITH_CODE.replace("\n  ", " ").strip().splitlines():
        what, _, pairs = paragraph.partition(": ")
        yield from (f"{what}: {pair.strip()}" for pair in pairs.split(";"))


@pytest.mark.parametrize(
    "name",
    [pytest.param(e, marks=[] if e in OFTEN else pytest.mark.fixes) for e in OPERATIONS],
)
def test_two_changes_of_one_field(corpus: None, name: str) -> None:
    with _patient():
        report = rehearse(migration(OPERATIONS[name]))
    found = [each for each in _findings(report) if each.id in SOLVED]
    code = {each.advice for each in found if not each.advice.startswith("#")}
    assert len(code) == (name in {*_with_code()})
    for advice in code:
        plan = pasted(advice)
        with _patient():
            again = rehearse(*plan)
        assert [each.error for each in again.migrations] == [None] * len(plan)
        left = {each.id for each in _findings(again) if each.severity == "danger"}
        assert left <= {"running-code-breaks"}
        wanted, wanted_state = _end([migration(OPERATIONS[name])])
        end, state = _end(plan)
        assert end == wanted
        assert _models(state) == _models(wanted_state)
