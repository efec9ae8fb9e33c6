"""Queries that one server counted, prepared on another: from ``confiture_stats`` to the report."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from io import StringIO
from pathlib import Path

import pytest
from django.core.management import call_command
from django.db import connection, models
from django.db.migrations import AddField, RemoveField
from django.db.migrations.state import ProjectState

from django_confiture.production import load
from django_confiture.reports import render
from tests.dry_run.running_code.queries.test_production_queries import rehearse
from tests.support.dry_run import clean_up, migration
from tests.support.release_cases.library import ROWS, library
from tests.support.releases import Writer, applied
from tests.support.server import OwnServer, own_server

__all__ = ["own_server"]  # a fixture

pytestmark = pytest.mark.django_db(transaction=True)

SECRET = "4111222"
_PRODUCTION = (
    "CREATE EXTENSION IF NOT EXISTS pg_stat_statements",
    "CREATE TABLE cases_book (id bigint, title text, summary text, price numeric(8,2), at date)",
    "SELECT pg_stat_statements_reset()",
)
_WORKLOAD = (
    f"SELECT title FROM cases_book WHERE summary = '{SECRET}' /* {SECRET} */",
    "SELECT id FROM cases_book WHERE extract(year FROM at) = 2026",
    "SELECT CAST(5 AS numeric(10,2)) FROM cases_book WHERE price > 3::numeric(4,1)",
    "SELECT id FROM cases_book WHERE at > now() - interval '3 days'",
    f"SELECT id FROM cases_book WHERE title IN ('{SECRET}', 'b', 'c') LIMIT 3",
)


@pytest.fixture
def state() -> Iterator[ProjectState]:
    clean_up("default")
    dated = AddField("Book", "at", models.DateField(null=True))
    found = applied(ProjectState(), migration(*library(), dated, name="0001_first"))
    Writer(found, ROWS).fill(unfilled=())
    yield found
    connection.close()
    clean_up("default")


def test_they_break_here_and_no_value_is_told(
    state: ProjectState, own_server: OwnServer, tmp_path: Path
) -> None:
    file, out = tmp_path / "stats.json", StringIO()
    with own_server.started(shared_preload_libraries="pg_stat_statements"):
        with closing(own_server.connect()) as other:
            for sql in (*_PRODUCTION, *_WORKLOAD):
                other.execute(sql)
        call_command("confiture_stats", "--queries=50", stdout=out, stderr=StringIO())
    file.write_text(out.getvalue())
    texts = [each.text for each in load(file).queries]
    assert len(texts) == len(_WORKLOAD)

    report = rehearse(state, texts, migration(RemoveField("Book", "summary"), name="0002_drop"))

    found = [each for each in report.deploy.old_code if each.action == "query"]
    assert [(each.sqlstate, each.sql) for each in found] == [
        ("42703", "SELECT title FROM cases_book WHERE summary = $1")
    ]
    assert report.deploy.checked.queries == len(_WORKLOAD)
    assert SECRET not in render(report, "json") + file.read_text()
