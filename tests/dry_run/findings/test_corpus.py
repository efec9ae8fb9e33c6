"""Every case of the corpus: nothing missed, nothing invented, and advice that is Python."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from django.db import connections
from django.db.migrations.loader import MigrationLoader
from psycopg.errors import UniqueViolation

from django_confiture.dry_run.results import Finding
from tests.corpus import CASES
from tests.corpus.case import Case
from tests.corpus.database import corpus, dry_run
from tests.support.dry_run import migration, plain_connection, rehearse, runs, table

__all__ = ["corpus"]


def found(findings: tuple[Finding, ...]) -> set[tuple[str, str | None]]:
    return {(each.id, each.relation) for each in findings}


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_finds_what_is_expected_and_nothing_else(corpus: None, case: Case) -> None:
    report = dry_run(case)
    for step, result in zip(case.plan, report.migrations, strict=True):
        assert found(result.findings) == step.expected
        for each in result.findings:
            ast.parse(each.advice)  # placeholders are "...", so it is Python as it stands
            assert each.message
            assert each.evidence or each.basis == "policy"
    last = report.migrations[-1]
    assert (last.error.type if last.error else "") == case.fails
    assert {name: table(last, name).strongest_lock for name in case.locks} == case.locks


def test_what_is_found_does_not_depend_on_dead_rows_of_earlier_cases(corpus: None) -> None:
    for _ in range(15):
        with plain_connection() as connection:
            connection.autocommit = False
            connection.execute("UPDATE cases_order SET note = 'x'")
            connection.rollback()
    (case,) = (case for case in CASES if case.name == "delete_while_locked")
    assert found(dry_run(case).migrations[0].findings) == case.plan[0].expected


def test_corpus_is_large_and_names_each_case_once() -> None:
    names = [case.name for case in CASES]
    assert len(names) == len(set(names)) >= 60


def test_base_is_loaded(corpus: None) -> None:
    loader = MigrationLoader(connections["default"])
    assert ("cases", "0001_base") in loader.applied_migrations


@contextmanager
def invalid_index(create: str) -> Iterator[None]:
    """Leave the INVALID index of a build that duplicates cut off."""
    with plain_connection() as connection:
        with pytest.raises(UniqueViolation):
            connection.execute(create)
        try:
            yield
        finally:
            connection.execute("DROP INDEX cases_left")


def test_an_invalid_index_is_there(corpus: None) -> None:
    """A cut-off CONCURRENTLY has left it, with the very definition that is asked for again."""
    create = "CREATE UNIQUE INDEX CONCURRENTLY IF NOT EXISTS cases_left ON cases_line (product_id)"
    with invalid_index(create):
        (result,) = rehearse(migration(runs(create), atomic=False)).migrations

    (finding,) = (each for each in result.findings if each.id == "if-not-exists-skips")
    assert "INVALID" in finding.evidence[0]


@pytest.mark.parametrize(
    "wanted",
    [
        "CREATE INDEX CONCURRENTLY cases_left ON cases_line (product_id)",
        "ALTER TABLE cases_line ADD CONSTRAINT cases_left UNIQUE (id)",
    ],
)
def test_an_invalid_index_has_the_name_that_is_wanted(corpus: None, wanted: str) -> None:
    """The deploy after the one in which CONCURRENTLY was cut off."""
    create = "CREATE UNIQUE INDEX CONCURRENTLY cases_left ON cases_line (product_id)"
    with invalid_index(create):
        (result,) = rehearse(migration(runs(wanted), atomic=False)).migrations

    assert result.error is not None
    (finding,) = (each for each in result.findings if each.id == "invalid-index-left")
    assert finding.relation == "cases_line"
    assert "INVALID" in finding.message


def test_a_valid_index_that_has_the_name_is_not_called_invalid(corpus: None) -> None:
    wanted = "CREATE INDEX cases_left ON cases_line (product_id)"
    (result,) = rehearse(migration(runs(wanted), runs(wanted))).migrations

    assert result.error is not None
    assert "invalid-index-left" not in {each.id for each in result.findings}
