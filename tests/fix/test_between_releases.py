"""Between two releases, models and schema differ until the next one's files: that is known."""

from __future__ import annotations

import json
from collections.abc import Sequence
from io import StringIO
from typing import Any

import pytest
from django.core.management import call_command
from django.db import models
from django.db.migrations import AddIndex, AlterField, CreateModel, RunSQL
from django.db.migrations.migration import Migration
from django.test import override_settings

from django_confiture.dry_run.findings.rules.plan_drift import with_drift
from django_confiture.dry_run.results.drift import Difference
from django_confiture.dry_run.rewriting.files import Rewriting, RewrittenFile
from django_confiture.dry_run.schema_check.plan_check import PlanDrift
from django_confiture.fix.proposal import RewriteStep, proposed
from django_confiture.testing import capture_hooks
from shop.hooks import BackfillCustomerLifetimeValue
from tests.cases.migrations_on_disk import Cases
from tests.fix.running import SETTINGS, fix, forget_modules
from tests.support.report_cases import MIGRATION
from tests.support.shipped_hooks import in_phases


def test_files_from_the_first_that_differs_say_what_completes_them() -> None:
    migration = Migration("0008_keys", "shop")
    operations = [RunSQL(f"SELECT {number}") for number in range(3)]
    vars(migration)["operations"] = operations
    differs = (
        RewrittenFile("models", "why", operations[:1], differs=True),
        RewrittenFile("next", "why", operations[:1], next_release=True),
    )
    forms = [(RewrittenFile("one", "why", operations[:1]),), differs, (differs[0],)]
    steps = [RewriteStep(n, operations[n], Rewriting(form)) for n, form in enumerate(forms)]
    new = proposed(migration, steps, None)
    line = "    confiture_completed_by = '0008_keys'\n"
    assert [line in each.source for each in new.files] == [False, True, True, False]


class _File(Migration):
    confiture_completed_by = "0009_keys"


@pytest.mark.parametrize(("also", "silenced"), [((), True), (("0009_keys",), False)])
def test_a_difference_is_known_while_what_completes_it_is_to_come(
    also: Sequence[str], *, silenced: bool
) -> None:
    names = (MIGRATION.name, *also)
    plan = [(_File(name, MIGRATION.app_label), False) for name in names]
    difference = Difference("column", "shop_order", "total", "integer", "bigint")
    (result,) = with_drift([MIGRATION], plan, PlanDrift((difference,)))
    found = result.findings[0]
    assert found.id == "schema-differs-from-models"
    assert found.silenced == ("0009_keys completes it, in the next release" if silenced else None)


@pytest.mark.fixes
@pytest.mark.django_db(transaction=True, databases="__all__")
def test_what_the_next_release_completes_is_no_danger(cases: Cases) -> None:
    shop = cases
    shop.add(
        "0001_shop",
        CreateModel("Order", [("id", models.BigAutoField(primary_key=True)),
                              ("total", models.IntegerField())]),
        RunSQL(
            "INSERT INTO cases_order (total) SELECT i FROM generate_series(1, 20000) i",
            RunSQL.noop,
        ),
    )  # fmt: skip
    shop.migrate()
    index = AddIndex("order", models.Index(fields=["total"], name="cases_order_total"))
    shop.add("0002_more", AlterField("order", "total", models.BigIntegerField()), index)
    code, document = fix("0002", "--releases", "2", "--write")
    assert code == 0
    now = [each["name"] for each in document["files"] if not each["next_release"]]
    forget_modules(shop)

    def drifted(*target: str) -> list[Any]:
        out = StringIO()
        with override_settings(CONFITURE=SETTINGS):
            call_command("migrate_dryrun", "cases", *target, format="json", verbosity=0, stdout=out)
        return [
            each["silenced"]
            for migration in json.loads(out.getvalue())["migrations"]
            for each in migration["findings"]
            if (each["id"], each["severity"]) == ("schema-differs-from-models", "danger")
        ]

    assert drifted(now[-1]) == ["0002_more completes it, in the next release"]
    assert drifted() == []
    shop.migrate(now[-1])
    out = StringIO()
    with pytest.raises(SystemExit):
        call_command("confiture_drift", stdout=out)
    assert "  cases.0002_more waits for the next release: what is different until" in out.getvalue()
    out = StringIO()
    with pytest.raises(SystemExit):
        call_command("confiture_drift", "--format", "json", stdout=out)
    assert json.loads(out.getvalue())["completed_by"] == ["cases.0002_more"]
    assert drifted() == []
    hook = {"HOOKS": {"backfill_customer_lifetime_value": BackfillCustomerLifetimeValue}}
    hook |= in_phases(BEFORE_VALIDATION=("require_no_drift", {}))
    with override_settings(CONFITURE=hook), capture_hooks() as hooks:
        shop.migrate()  # what its migrations make is what it compares with
    first, *_others = hooks.find("RequireNoDrift")
    assert first.result is not None
    assert first.result.stats == {"compared": True}
    call_command("confiture_drift", stdout=StringIO())  # exits with 1 where it finds something
    shop.migrate("0001_shop")
