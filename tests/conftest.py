"""Fixtures that every module of the suite shares."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from pytest_django import Settings

from tests.cases.migrations_on_disk import Cases, make_cases
from tests.support.dry_run import both_databases, scratch, scratch_tables, untouched
from tests.support.history import history
from tests.support.quick_flush import quick_flush

__all__ = [
    "both_databases",
    "cases",
    "history",
    "quick_flush",
    "scratch",
    "scratch_tables",
    "untouched",
]

# Projects of others, with tests of their own.
collect_ignore = ["packages"]


@pytest.fixture
def cases(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    settings: Settings,
    transactional_db: None,
) -> Iterator[Cases]:
    """Give the app "cases" migrations of the test's own; what they create is dropped after."""
    with make_cases(tmp_path, monkeypatch, settings) as chosen:
        yield chosen
