"""What other packages make of a migration is in the dry run: triggers, and schemas of tenants."""

from __future__ import annotations

import json
from contextlib import nullcontext
from typing import Any

import pytest
from django.db import connection

from tests.compatibility.conftest import MakeProject
from tests.compatibility.environments import Project
from tests.support.dry_run import fingerprint
from tests.support.pools import behind_pgbouncer

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


CROSSES = """
import time

from django.db import migrations


def crosses(apps, schema_editor):
    connection = schema_editor.connection
    tables = ["public.shared_one", "public.shared_two"]
    with connection.cursor() as cursor:
        for table in tables if connection.schema_name == "acme" else reversed(tables):
            cursor.execute(f"LOCK TABLE {{table}}")
            time.sleep(1)
        cursor.execute(f"CREATE TABLE {{connection.schema_name}}.made ()")


class Migration(migrations.Migration):
    atomic = {atomic}
    dependencies = [("stock", "0003_remove_name")]
    operations = [migrations.RunPython(crosses, atomic=True)]
"""
RETRIES = """
CONFITURE["MIGRATE"] = {"LOCK_RETRIES": 3, "RETRY_DELAY": "2ms"}
TENANT_MULTIPROCESSING_CHUNKS = 1
"""


@pytest.mark.parametrize("mode", ["", "session", "transaction"])
@pytest.mark.parametrize("atomic", [True, False], ids=["atomic", "non-atomic"])
def test_tenants_that_are_migrated_together_and_deadlock(
    make_project: MakeProject, mode: str, *, atomic: bool
) -> None:
    """By the parallel executor of django-tenants, on tables that they share."""
    project = make_project("django-tenants")
    project.django("migrate_schemas", "--shared")
    made = "".join(f"Client(schema_name={each!r}).save(verbosity=0);" for each in ("acme", "beta"))
    code = "import django; django.setup(); from renting.models import Client;"
    project.run("-c", f"{code}{made}")
    project.observer.execute("CREATE TABLE shared_one (); CREATE TABLE shared_two ()")
    crosses = project.home / "stock" / "migrations" / "0004_crosses.py"
    crosses.write_text(CROSSES.format(atomic=atomic))
    with (project.home / "compat_settings.py").open("a") as settings:
        settings.write(RETRIES)

    with behind_pgbouncer(mode) if mode else nullcontext():
        own = connection.settings_dict
        project.database |= {name: own[name] for name in ("HOST", "PORT", "USER")}
        process = project.start(
            *("-m", "django", "migrate_schemas", "--tenant", "--executor=multiprocessing")
        )
        said = "".join(process.communicate(timeout=120))

    there = [
        project.observer.execute(f"SELECT to_regclass('{schema}.made') IS NOT NULL").fetchone()
        for schema in ("acme", "beta")
    ]
    assert "deadlock detected" in said
    if atomic:
        assert process.returncode == 0, said
        assert there == [(True,), (True,)]
        assert "lock_timeout_retry" in said
    else:
        assert process.returncode != 0, said
        assert sorted(there, key=str) == [(False,), (True,)]
        assert "It is not atomic, so what it had done is committed" in said
