"""What other packages make of a migration is in the dry run: triggers, and schemas of tenants."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.compatibility.conftest import MakeProject
from tests.compatibility.environments import Project
from tests.support.dry_run import fingerprint

pytestmark = pytest.mark.compatibility


def rehearsed(project: Project, *command: str) -> dict[str, Any]:
    """Return the JSON report of a dry run that passes, and leaves nothing."""
    before = fingerprint(project.observer)
    document: dict[str, Any] = json.loads(project.django(*command, "--format", "json"))
    assert document["outcome"] == "passed"
    assert fingerprint(project.observer) == before
    return document


def test_the_triggers_of_pgtrigger_are_dropped_and_made_again(make_project: MakeProject) -> None:
    """It does so around a change of a column that a trigger is for."""
    project = make_project("django-pgtrigger")
    project.django("migrate", "guarded", "0001")

    document = rehearsed(project, "migrate_dryrun", "guarded")

    (migration,) = document["migrations"]
    trigger, update, alter = migration["operations"]
    assert [each["rehearsed"] for each in migration["operations"]] == ["exact"] * 3
    assert update["statements"][0]["writes"][0]["updated"] == 50
    assert any("pgtrigger_even_numbers_guard" in each["sql"] for each in trigger["statements"])
    assert [r for each in alter["statements"] for r in each["rewrites"]] == ["guarded_account"]
    project.django("migrate", "guarded")
    number = project.observer.execute("SELECT sum(number) FROM guarded_account").fetchone()
    assert number == (2 * sum(range(1, 51)),)


def test_a_tenant_is_rehearsed_in_its_schema(make_project: MakeProject) -> None:
    project = make_project("django-tenants")
    project.django("migrate_schemas", "--shared")
    project.run(
        "-c",
        "import django; django.setup(); from renting.models import Client;"
        "Client(schema_name='acme').save(verbosity=0)",
    )
    project.django("migrate_schemas", "--schema=acme", "stock", "0001")

    document = rehearsed(project, "tenant_command", "migrate_dryrun", "--schema=acme")

    applied = [f"{each['app_label']}.{each['name']}" for each in document["migrations"]]
    assert applied == ["stock.0002_add_code", "stock.0003_remove_name"]
    tables = {each["relation"] for m in document["migrations"] for each in m["tables"]}
    assert "stock_item" in tables
    assert document["coverage"]["exact"] > 0
    project.django("migrate_schemas", "--schema=acme")
    names = "SELECT name FROM acme.django_migrations WHERE app = 'stock' ORDER BY id"
    assert [name for (name,) in project.observer.execute(names)][-1] == "0003_remove_name"


def test_the_shared_schema_says_that_tenants_were_not_looked_at(make_project: MakeProject) -> None:
    project = make_project("django-tenants")

    document = rehearsed(project, "migrate_dryrun")

    assert any("only the schema 'public' was looked at" in each for each in document["warnings"])
    skipped = [
        operation["rehearsed"]
        for migration in document["migrations"]
        if migration["app_label"] == "stock"
        for operation in migration["operations"]
    ]
    assert set(skipped) == {"skipped_by_router"}
