"""The advice is run: it does what the migration does, without the damage."""

from __future__ import annotations

import ast
from functools import partial
from typing import Any

import pytest
from django.core.management import call_command
from django.db import connections, models
from django.db.migrations import Migration
from django.test import override_settings

from django_confiture.dry_run.findings.advice import migration_code
from django_confiture.dry_run.findings.advice.wrapping import wrapped
from django_confiture.dry_run.migrate import migrate_with
from django_confiture.dry_run.migration_executor import RehearsalExecutor
from django_confiture.dry_run.transaction_rehearsal import transaction_rehearsal
from tests.corpus import CASES
from tests.corpus.case import sql
from tests.corpus.database import MIGRATIONS, PATIENT, corpus, dry_run
from tests.support.dry_run import migration, rehearse

__all__ = ["corpus"]

PASTED = [
    "add_fk_default",
    "add_fk_null",
    "add_fk_null_no_index",
    "add_index",
    "add_index_concurrently_atomic",
    "add_indexed_null",
    "add_positive_null",
    "add_unique_null",
    "check",
    "detach",
    "domain",
    "fk",
    "fk_constraint",
    "not_null",
    "not_null_constraint",
    "refresh",
    "reindex_index",
    "reindex_table",
    "remove_db_index",
    "remove_field",
    "remove_index",
    "rename_field",
    "sql_concurrently_atomic",
    "sql_of_partitions",
    "two_rewrites",
    "unique_column",
    "unique",
    "unique_deferrable",
    "unique_where",
    "validate_in_same_statement",
    "validate_in_same_transaction",
]


NEXT = {
    # This advice is what comes after the operation, or after its first part.
    "add_fk_null_no_index": "",
    "validate_in_same_transaction": "",
    "validate_in_same_statement": "ALTER TABLE cases_order ADD CONSTRAINT c"
    " CHECK (total >= 0) NOT VALID",
}
ALLOWED = {
    # One pass in place of two is less harm, not none.
    "two_rewrites": {"type-change-rewrite"},
    # The column is dropped all the same, one release later.
    "remove_field": {"column-dropped"},
    # That it has no index is another finding, with advice of its own.
    "fk": {"foreign-key-without-index"},
    "fk_constraint": {"foreign-key-without-index"},
}


def pasted(advice: str) -> list[Migration]:
    """Return the migrations of an advice, each class by itself."""
    found: list[Migration] = []
    names: dict[str, Any] = {}
    for node in ast.parse(advice).body:
        exec(compile(ast.Module([node], []), "advice", "exec"), names)
        if isinstance(node, ast.ClassDef):
            found.append(names["Migration"](f"{len(found) + 2:04}_advice", "cases"))
    return found


@pytest.mark.parametrize("name", PASTED)
def test_pasted_advice_passes_and_harms_nobody(corpus: None, name: str) -> None:
    (case,) = (each for each in CASES if each.name == name)
    finding = dry_run(case).migrations[-1].findings[-1 if name == "two_rewrites" else 0]
    plan = pasted(finding.advice)
    if name in NEXT:
        first = sql(NEXT[name]) if NEXT[name] else case.plan[0].operations[:1]
        plan.insert(0, migration(*first, name="0002_first"))
    with override_settings(CONFITURE={"MIGRATE": {"LOCK_TIMEOUT": "2s"}, "DRY_RUN": PATIENT}):
        report = rehearse(*plan)
    assert [each.error for each in report.migrations] == [None] * len(plan)
    harm = {each.id for result in report.migrations for each in result.findings}
    assert harm <= ALLOWED.get(name, set())


@pytest.mark.parametrize(
    ("statement", "says"),
    [
        ("DROP INDEX cases_event_id", "lock_timeout"),
        ("ALTER TABLE cases_event ADD UNIQUE (id, kind)", "ALTER TABLE ONLY"),
        ("ALTER TABLE cases_event ADD PRIMARY KEY (id, kind)", "ALTER TABLE ONLY"),
        ("CREATE INDEX ON cases_event (kind)", "CREATE INDEX cases_event_idx ON ONLY"),
    ],
)
def test_what_is_advised_for_partitions(corpus: None, statement: str, says: str) -> None:
    first = sql("CREATE INDEX cases_event_id ON cases_event (id)")
    plan = migration(*first, name="0002_first"), migration(*sql(statement), name="0003_next")

    advice = [each.advice for each in rehearse(*plan).migrations[1].findings]

    assert any(says in each for each in advice)
    assert not any("DROP INDEX CONCURRENTLY" in each for each in advice)


def test_backwards_only_what_was_measured(corpus: None) -> None:
    rehearsal = transaction_rehearsal(connections["default"])
    with rehearsal.open(), override_settings(MIGRATION_MODULES=MIGRATIONS):
        executor = partial(RehearsalExecutor, rehearsal)
        migrate_with(executor, using="default", target=("cases", "zero"))
    (result,) = rehearsal.report().migrations
    assert result.direction == "backward"
    assert result.findings
    assert {each.basis for each in result.findings} == {"measured"}


def test_a_hook_around_the_operations_is_seen(corpus: None) -> None:
    phases = {"AFTER_DDL": [{"HOOK": "tests.corpus.python_code.FillOrders"}]}
    settings = {
        "MIGRATE": {"LOCK_TIMEOUT": "2s"},
        "PHASES": phases,
        "TEST_DATABASES": True,
        "DRY_RUN": PATIENT,
    }
    made = type("Migration", (Migration,), {"operations": []})("0002_hooked", "cases")
    with override_settings(CONFITURE=settings):
        (result,) = rehearse(made).migrations
    (found,) = result.findings
    assert (found.id, found.relation) == ("backfill-in-one-transaction", "cases_order")
    assert found.operation is None


def test_a_lock_timeout_of_the_connection_is_enough(corpus: None) -> None:
    (case,) = (each for each in CASES if each.name == "no_lock_timeout")
    with connections["default"].cursor() as cursor:
        cursor.execute("SET lock_timeout = '5s'")
        try:
            (result,) = dry_run(case).migrations
        finally:
            cursor.execute("RESET lock_timeout")
    assert result.findings == ()


def test_a_dry_run_without_findings_says_nothing(corpus: None, capsys: Any) -> None:
    with override_settings(MIGRATION_MODULES=MIGRATIONS):
        call_command("migrate_dryrun", "cases", verbosity=0)
    assert "Findings" not in capsys.readouterr().out


def test_batches_name_the_model_of_a_table() -> None:
    text = migration_code.batches("shop_order", "update(note=1)")
    assert 'apps.get_model("shop", "Order")' in text
    ast.parse(text)
    assert migration_code.batches("nobody", "delete()").startswith("# Write nobody in batches")


def test_sql_is_split_at_blanks_and_long_names_at_underscores() -> None:
    text = migration_code.run_sql("ALTER TABLE t DROP CONSTRAINT " + "a_long_part_" * 6)
    joined = ast.parse(text.replace("migrations.RunSQL", "f").rstrip(",")).body[0]
    assert isinstance(joined, ast.Expr)
    assert isinstance(joined.value, ast.Call)
    assert ast.literal_eval(joined.value.args[0]) == (
        "ALTER TABLE t DROP CONSTRAINT " + "a_long_part_" * 6
    )
    assert max(map(len, text.splitlines())) < 60


def test_long_calls_are_wrapped_and_strings_left_alone() -> None:
    line = "f(a='x, (y' , b=[1, 2], c=" + "g(" + ", ".join(f"argument_{i}" for i in range(9)) + "))"
    assert ast.dump(ast.parse(wrapped(line))) == ast.dump(ast.parse(line))
    assert max(map(len, wrapped(line).splitlines())) <= 66


def test_fields_are_copied() -> None:
    field = models.CharField(max_length=5)
    assert migration_code.changed(field, null=True).null
    assert not field.null
