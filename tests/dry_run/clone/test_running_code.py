"""``--clone``: no statement of a migration is charged with what the two releases try there."""

from __future__ import annotations

import pytest
from django.db import connections, models
from django.db.migrations import AddField, AlterField, Migration, RunSQL
from django.db.migrations.state import ProjectState

from django_confiture.dry_run.clone.database import cloned
from django_confiture.dry_run.clone_rehearsal import clone_rehearsal
from django_confiture.dry_run.results import Report
from tests.support.clone import source
from tests.support.dry_run import apply_from, migration
from tests.support.release_cases.library import ROWS, library
from tests.support.releases import Writer, applied

__all__ = ["source"]

pytestmark = pytest.mark.usefixtures("source")


def rehearse(state: ProjectState, *plan: Migration) -> Report:
    wrapper = connections["default"]
    with cloned(wrapper, wrapper, say=lambda _line: None) as clone:
        rehearsal = clone_rehearsal(wrapper, clone, running_code=True)
        apply_from(state, rehearsal, wrapper, plan)
        return rehearsal.report()


@pytest.mark.parametrize("atomic", [True, False])
def test_what_both_releases_write_is_no_rows_of_the_next_statement(atomic: bool) -> None:
    state = applied(ProjectState(), migration(*library(), name="0001_first"))
    Writer(state, ROWS).fill(unfilled=())
    wrapper = connections["default"]
    try:
        report = rehearse(
            state,
            migration(
                AddField("Tag", "a", models.TextField(null=True)),
                AddField("Tag", "b", models.TextField(null=True)),
                atomic=atomic,
                name="0002_a",
            ),
            migration(
                AlterField("Tag", "a", models.CharField(max_length=60, null=True)),
                RunSQL("DELETE FROM cases_tag WHERE false", RunSQL.noop),
                atomic=atomic,
                name="0003_b",
            ),
        )
    finally:
        with wrapper.cursor() as cursor:
            cursor.execute(
                "SELECT format('DROP TABLE %I CASCADE', relname) FROM pg_class"
                " WHERE relname LIKE 'cases\\_%' AND relkind = 'r'"
            )
            for (drop,) in cursor.fetchall():
                cursor.execute(drop)

    assert [each.outcome for each in report.migrations] == ["passed", "passed"]
    assert report.deploy.order != "unknown"
    statements = [s for m in report.migrations for o in m.operations for s in o.statements]
    assert [s.writes for s in statements] == [()] * 4
