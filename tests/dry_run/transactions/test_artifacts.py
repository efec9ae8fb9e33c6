"""One transaction around everything changes what migrations see: for real, naively, rehearsed."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from typing import Any

import pytest
from django.contrib.auth.models import Group

from tests.cases.migrations_on_disk import query
from tests.support.artifact_cases import CASES, Case
from tests.support.cursor_cases import CURSOR_CASES
from tests.support.dry_run import fingerprint, for_real
from tests.support.outcomes import naively, rehearsed
from tests.support.settings_cases import SETTINGS_CASES

_ALL = {**CASES, **CURSOR_CASES, **SETTINGS_CASES}
each_case = pytest.mark.parametrize("case", _ALL.values(), ids=_ALL)


@pytest.fixture(autouse=True)
def _tables(case: Case, scratch_tables: Any, request: pytest.FixtureRequest) -> Iterator[None]:
    """Begin with what the case wants to be there; what it leaves is gone with the tables."""
    if not case.since <= int(query("SHOW server_version_num")[0][0]) // 10_000 <= case.until:
        pytest.skip("not so in this version of PostgreSQL")
    is_rehearsed = request.node.originalname == test_rehearsed.__name__
    request.getfixturevalue("untouched" if is_rehearsed and not case.before else "scratch")
    if case.before:
        scratch_tables.observers["default"].execute(case.before)
    yield
    gc.collect()  # else it may close a cursor that a case left open amid a query, and wait forever
    if not is_rehearsed:
        Group.objects.all().delete()


@pytest.mark.facts
@each_case
def test_for_real(case: Case) -> None:
    agrees(for_real(*case.plan()), case.real)


@pytest.mark.facts
@each_case
def test_naively(case: Case, scratch_tables: Any) -> None:
    before = everything(scratch_tables)

    error = naively(*case.plan())

    after = everything(scratch_tables)
    agrees(error, case.real if case.naive is None else case.naive)
    changed = {what for what in {**before, **after} if before.get(what) != after.get(what)}
    assert changed == {f"default: rows of public.{table}" for table in case.leaks}


@each_case
def test_rehearsed(case: Case) -> None:
    error = rehearsed(*case.plan())

    expected = case.real if case.rehearsed is None else case.rehearsed
    agrees(error, expected.partition(": ")[2])  # the type is the driver's


def agrees(found: str, expected: str) -> None:
    assert expected in found
    assert bool(found) is bool(expected), found


def everything(scratch_tables: Any) -> dict[str, Any]:
    """Return all that there is in both databases."""
    return {
        f"{alias}: {what}": found
        for alias, observer in scratch_tables.observers.items()
        for what, found in fingerprint(observer).items()
    }
