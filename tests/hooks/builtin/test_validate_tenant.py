"""``validate_tenant``: the column, NOT NULL, an index, no orphans."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import migrations
from pytest_django import Settings

from django_confiture import DryRunError
from django_confiture.testing import capture_hooks
from tests.cases.migrations_on_disk import Cases
from tests.support.shipped_hooks import execute, in_phases, option_messages, rehearse, veto_of

SOUND = (
    "CREATE TABLE cases_tenant (id int PRIMARY KEY); INSERT INTO cases_tenant VALUES (1), (2);"
    "CREATE TABLE cases_order (id int PRIMARY KEY, tenant_id int NOT NULL);"
    "CREATE INDEX ON cases_order (tenant_id, id); INSERT INTO cases_order VALUES (1, 1), (2, 2)"
)
OPTIONS = {"tables": ["cases_*"], "references": "cases_tenant"}


@pytest.fixture(autouse=True)
def _configured(cases: Cases, settings: Settings) -> None:
    settings.CONFITURE = in_phases(AFTER_VALIDATION=("validate_tenant", OPTIONS))


def add(cases: Cases, *statements: str) -> None:
    cases.add("0001_tables", migrations.RunSQL(";".join([SOUND, *statements]), "SELECT 1"))


def test_sound_tables_pass(cases: Cases) -> None:
    add(cases)
    with capture_hooks() as hooks:
        cases.migrate()
    (run,) = hooks.assert_ran("ValidateTenant")
    assert run.result is not None
    assert run.result.stats == {"tables": ["cases_order"]}


@pytest.mark.parametrize(
    ("statement", "problem"),
    [
        ("CREATE TABLE cases_line (id int)", "cases_line has no column tenant_id"),
        (
            "ALTER TABLE cases_order ALTER tenant_id DROP NOT NULL",
            "cases_order lets tenant_id be NULL",
        ),
        (
            "DROP INDEX cases_order_tenant_id_id_idx; CREATE INDEX ON cases_order (id, tenant_id)",
            "cases_order has no valid index that starts with tenant_id",
        ),
        (
            (
                "DROP INDEX cases_order_tenant_id_id_idx;"
                "CREATE INDEX ON cases_order (tenant_id) WHERE id > 3"
            ),
            "cases_order has no valid index that starts with tenant_id",
        ),
        (
            "INSERT INTO cases_order VALUES (17, 3), (4, 4)",
            "cases_order has 2 rows (keys 17, 4) of no tenant in cases_tenant",
        ),
    ],
)
def test_each_fault_is_a_veto(cases: Cases, statement: str, problem: str) -> None:
    add(cases, statement)
    assert veto_of(cases) == f"After cases.0001_tables, {problem}."
    assert cases.applied() == set()


def test_all_faults_are_named_at_once(cases: Cases) -> None:
    add(cases, "CREATE TABLE cases_line (tenant_id int)", "CREATE TABLE cases_note ()")
    assert veto_of(cases) == (
        "After cases.0001_tables, cases_line lets tenant_id be NULL; "
        "cases_line has no valid index that starts with tenant_id; "
        "cases_note has no column tenant_id."
    )


def test_a_foreign_key_proves_that_there_are_no_orphans(cases: Cases) -> None:
    add(
        cases,
        "ALTER TABLE cases_order ADD FOREIGN KEY (tenant_id) REFERENCES cases_tenant",
        "REVOKE SELECT ON cases_order FROM CURRENT_USER",
    )
    cases.migrate()
    assert cases.applied() == {"0001_tables"}


def test_orphans_without_keys_that_may_be_shown_are_counted(cases: Cases) -> None:
    add(
        cases,
        "CREATE TABLE cases_slug (slug text PRIMARY KEY, tenant_id int NOT NULL)",
        "CREATE INDEX ON cases_slug (tenant_id)",
        "INSERT INTO cases_slug VALUES ('secret', 9)",
    )
    assert veto_of(cases).endswith("cases_slug has 1 row of no tenant in cases_tenant.")


def test_excluded_tables_are_left_out_and_the_column_has_another_name(
    cases: Cases, settings: Settings
) -> None:
    add(cases, "CREATE TABLE cases_log ()", "ALTER TABLE cases_order RENAME tenant_id TO owner")
    options = {**OPTIONS, "exclude": ["*_log"], "column": "owner"}
    settings.CONFITURE = in_phases(AFTER_VALIDATION=("validate_tenant", options))
    cases.migrate()
    assert cases.applied() == {"0001_tables"}


def test_a_pattern_that_matches_nothing_is_a_veto(cases: Cases, settings: Settings) -> None:
    add(cases)
    settings.CONFITURE = in_phases(AFTER_VALIDATION=("validate_tenant", {"tables": ["case_*"]}))
    assert veto_of(cases) == (
        "No table matches 'case_*'; correct the option 'tables' of validate_tenant."
    )


def test_tenants_without_a_key_of_one_column_are_a_veto(cases: Cases) -> None:
    add(cases, "ALTER TABLE cases_tenant DROP CONSTRAINT cases_tenant_pkey")
    assert veto_of(cases) == "cases_tenant has no primary key of one column to look tenants up by."


def test_a_dry_run_fails_where_the_migration_would(cases: Cases) -> None:
    add(cases, "CREATE TABLE cases_note ()")
    with pytest.raises(DryRunError, match="cases_note has no column tenant_id"):
        rehearse(cases, "0001_tables")


def test_backwards_it_is_skipped(cases: Cases) -> None:
    add(cases)
    cases.migrate()
    execute("DROP INDEX cases_order_tenant_id_id_idx")
    with capture_hooks() as hooks:
        cases.migrate("zero")
    assert [run.outcome for run in hooks.find("ValidateTenant")] == ["skipped"]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (
            {},
            (
                "confiture.E012",
                'validate_tenant: OPTIONS["tables"] is missing.',
                "Write it: it is required.",
            ),
        ),
        (
            {"tables": ["*"], "colum": "x"},
            (
                "confiture.E011",
                "validate_tenant has the unknown option 'colum'.",
                "Did you mean 'column'?",
            ),
        ),
        (
            {"tables": ["*"], "references": 3},
            ("confiture.E012", 'validate_tenant: OPTIONS["references"] is 3.', "Write a string."),
        ),
    ],
)
def test_wrong_options_are_system_checks(options: Any, expected: Any) -> None:
    assert option_messages("validate_tenant", options) == [expected]
