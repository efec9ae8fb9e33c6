"""The tables of the corpus, and the dry run of a case on them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from django.core.management import call_command
from django.db import connections
from django.test import override_settings

from django_confiture.dry_run.results import Report
from tests.cases.migrations_on_disk import query
from tests.corpus.case import Case
from tests.support.dry_run import migration, rehearse

MIGRATIONS = {"cases": "tests.corpus.migrations_base"}


@pytest.fixture(scope="module")
def corpus(both_databases: None, django_db_blocker: Any) -> Iterator[None]:
    """Make the tables, once for all cases of a module."""
    with django_db_blocker.unblock(), override_settings(MIGRATION_MODULES=MIGRATIONS):
        make_tables()
        yield
        call_command("migrate", "cases", "zero", verbosity=0)


def make_tables() -> None:
    """Make them, as autovacuum would find them at its own time."""
    call_command("migrate", "cases", verbosity=0)
    with connections["default"].cursor() as cursor:
        cursor.execute("VACUUM ANALYZE")


def _vacuum_what_grew() -> None:
    """Remove the dead rows of earlier cases before PostgreSQL counts them in its plans.

    It takes a file that is ten times as long for a table with ten times as many rows, and then
    prefers plans that stop early and read fewer.
    """
    grew = query(
        "SELECT oid::regclass::text FROM pg_class WHERE relkind = 'r' AND relname ~ '^cases_'"
        " AND pg_relation_size(oid) > 2 * relpages * current_setting('block_size')::int"
    )
    with connections["default"].cursor() as cursor:
        for (table,) in grew:
            cursor.execute(f"VACUUM {table}")


# Autovacuum lets go of a table after a second, the default of the dry run's own lock timeout.
PATIENT = {"LOCK_TIMEOUT": "30s"}


def dry_run(case: Case) -> Report:
    """Rehearse a case's migrations, one after the other; skip what this PostgreSQL can't show."""
    if int(query("SHOW server_version_num")[0][0]) < case.since * 10_000:
        pytest.skip(f"needs PostgreSQL {case.since}")
    if query("SELECT FROM pg_available_extensions WHERE name = %s", case.unless_available):
        pytest.skip(f"this PostgreSQL has {case.unless_available}")
    _vacuum_what_grew()
    settings = {"MIGRATE": {"LOCK_TIMEOUT": case.lock_timeout}, "DRY_RUN": PATIENT}
    with override_settings(CONFITURE=settings):
        return rehearse(
            *(
                migration(*step.operations, atomic=step.atomic, name=f"{number:04}_{case.name}")
                for number, step in enumerate(case.plan, 2)
            )
        )
