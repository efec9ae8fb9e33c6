"""Flags of ``migrate`` that change what runs, and ``migrate`` called from within."""

from __future__ import annotations

from typing import Any

import pytest
from django.core.management import call_command
from django.db import connections
from django.db.models.signals import post_migrate

from tests.cases.migrations_on_disk import Cases, query, table_exists
from tests.management.test_migrate_dryrun import NUMBER, THING, connected, dry_run, in_json, plan


@pytest.fixture
def two(cases: Cases) -> Cases:
    cases.add("0001_initial", THING)
    cases.add("0002_number", NUMBER)
    return cases


@pytest.mark.parametrize("flag", ["--fake", "--plan", "--check", "--prune"])
def test_a_flag_that_leaves_nothing_to_rehearse_is_refused_by_name(two: Cases, flag: str) -> None:
    ran = dry_run(flag)

    assert ran.code == 2
    assert f"migrate_dryrun has no {flag}: " in ran.err


def test_fake_initial_is_passed_on(two: Cases) -> None:
    two.migrate("0001")
    query_none("DELETE FROM django_migrations WHERE app = 'cases'")

    (failed, *_rest) = in_json("cases", code=1)["migrations"]
    assert failed["error"]["type"] == "DuplicateTable"
    document = in_json("cases", "--fake-initial")
    faked, second = document["migrations"]

    assert (faked["outcome"], faked["operations"]) == ("passed", [])
    assert "--fake-initial" in " ".join(document["warnings"])
    assert (second["outcome"], len(second["operations"])) == ("passed", 1)
    assert two.applied() == set()


def test_run_syncdb_is_passed_on(two: Cases, settings: Any) -> None:
    settings.MIGRATION_MODULES = {**settings.MIGRATION_MODULES, "auth": None}
    moved = ("auth_group", "auth_group_permissions")
    query_none("CREATE SCHEMA cases_kept")
    for table in moved:
        query_none(f"ALTER TABLE {table} SET SCHEMA cases_kept")
    made: list[bool] = []
    try:
        with connected(post_migrate, lambda **_: made.append(table_exists("auth_group"))):
            in_json("cases", "0001")
            in_json("--run-syncdb")
        assert made[-1:] == [True]
        assert not table_exists("auth_group")
    finally:
        for table in moved:
            query_none(f"ALTER TABLE cases_kept.{table} SET SCHEMA public")
        query_none("DROP SCHEMA cases_kept")


@pytest.mark.django_db(databases=["default", "other"], transaction=True)
def test_a_receiver_that_migrates_another_database(two: Cases) -> None:
    def migrates(using: str, **_facts: object) -> None:
        if using == "default":
            call_command("migrate", "cases", database="other", verbosity=0)

    with connected(post_migrate, migrates):
        document = in_json("cases")

    assert plan(document) == [
        ("0001_initial", "forward", "passed"),
        ("0002_number", "forward", "passed"),
    ]
    (note,) = (each for each in document["warnings"] if "'other'" in each)
    assert "--database other" in note
    assert query("SELECT to_regclass('cases_thing') IS NULL", using="other") == [(True,)]


def query_none(statement: str) -> None:
    with connections["default"].cursor() as cursor:
        cursor.execute(statement)


AUDITED = """
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("cases", "0001_initial")]
    operations = [
        migrations.AddField("Thing", "number", models.IntegerField(null=True)),
        migrations.RunSQL(migrations.RunSQL.noop, "INSERT INTO cases_audit VALUES (1)"),
    ]

    def unapply(self, *args, **kwargs):
        if len(self.operations) != 2:
            raise ValueError("not all at once")
        state = super().unapply(*args, **kwargs)
        args[1].execute("INSERT INTO cases_audit VALUES (2)")
        return state
"""


def test_an_unapply_of_the_migrations_own_is_called_once(cases: Cases) -> None:
    cases.add("0001_initial", THING)
    cases.write("0002_audited", AUDITED)
    cases.migrate()
    query_none("CREATE TABLE cases_audit (id int UNIQUE)")

    (undone,) = in_json("cases", "0001")["migrations"]

    assert (undone["direction"], undone["outcome"]) == ("backward", "passed")
    assert [len(each["statements"]) for each in undone["operations"]] == [1, 1]
    (audit,) = [each for each in undone["tables"] if each["relation"] == "cases_audit"]
    assert audit["rows_written"] == 2
    cases.migrate("0001")
    assert query("SELECT id FROM cases_audit ORDER BY 1") == [(1,), (2,)]
