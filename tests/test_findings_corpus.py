"""Every case of the corpus: nothing missed, nothing invented, and advice that is Python."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from typing import Any

import pytest
from django.core.management import call_command
from django.db import connections
from django.db.migrations.loader import MigrationLoader
from django.test import override_settings

from django_confiture.dry_run.results import Finding, Report
from tests.cases.migrations_on_disk import query
from tests.corpus import CASES
from tests.corpus.case import Case
from tests.dry_run_support import migration, rehearse, table

TABLES_OF_CORPUS = {"cases": "tests.corpus.migrations_base"}


@pytest.fixture(scope="module")
def corpus(django_db_setup: None, django_db_blocker: Any) -> Iterator[None]:
    """Make the tables of the corpus, once for all of its cases."""
    with django_db_blocker.unblock(), override_settings(MIGRATION_MODULES=TABLES_OF_CORPUS):
        call_command("migrate", "cases", verbosity=0)
        with connections["default"].cursor() as cursor:
            cursor.execute("ANALYZE")
        yield
        call_command("migrate", "cases", "zero", verbosity=0)


def reports(case: Case) -> Report:
    with override_settings(CONFITURE={"MIGRATE": {"LOCK_TIMEOUT": case.lock_timeout}}):
        return rehearse(
            *(
                migration(*step.operations, atomic=step.atomic, name=f"{number:04}_{case.name}")
                for number, step in enumerate(case.plan, 2)
            )
        )


def found(findings: tuple[Finding, ...]) -> set[tuple[str, str | None]]:
    return {(each.id, each.relation) for each in findings}


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_finds_what_is_expected_and_nothing_else(corpus: None, case: Case) -> None:
    if int(query("SHOW server_version_num")[0][0]) < case.since * 10_000:
        pytest.skip(f"needs PostgreSQL {case.since}")
    if query("SELECT FROM pg_available_extensions WHERE name = %s", case.unless_available):
        pytest.skip(f"this PostgreSQL has {case.unless_available}")
    report = reports(case)
    for step, result in zip(case.plan, report.migrations, strict=True):
        assert found(result.findings) == step.expected
        for each in result.findings:
            ast.parse(each.advice)  # placeholders are "...", so it is Python as it stands
            assert each.message
            assert each.evidence or each.basis == "policy"
    last = report.migrations[-1]
    assert (last.error.type if last.error else "") == case.fails
    assert {name: table(last, name).strongest_lock for name in case.locks} == case.locks


def test_corpus_is_large_and_names_each_case_once() -> None:
    names = [case.name for case in CASES]
    assert len(names) == len(set(names)) >= 60


def test_base_is_loaded(corpus: None) -> None:
    loader = MigrationLoader(connections["default"])
    assert ("cases", "0001_base") in loader.applied_migrations
