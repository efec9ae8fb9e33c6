"""Rows that a ``GenericRelation`` takes along: no migration's state knows of it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from django.contrib.contenttypes.fields import GenericRelation
from django.db import connection, models
from django.db.migrations import CreateModel, RunSQL
from django.test.utils import isolate_apps

from django_confiture.dry_run.running_code.models import generic_relations
from tests.dry_run.running_code.test_corpus import claimed
from tests.support.dry_run import clean_up
from tests.support.release_cases.library import key
from tests.support.releases import Case, Rows

pytestmark = pytest.mark.django_db(transaction=True)

FIRST = [
    CreateModel("Probe", [("id", key()), ("name", models.TextField())]),
    CreateModel(
        "Mark",
        [("id", key()), ("what", models.IntegerField()), ("object_id", models.IntegerField())],
    ),
]
ROWS: Rows = {
    "Probe": [lambda n, get: {"name": f"p{n}"}],
    "Mark": [lambda n, get: {"what": 1, "object_id": n}],
}


@pytest.fixture
def _declared(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let the project's code have a relation from probes to marks."""
    with isolate_apps("tests.cases") as declared:

        class Mark(models.Model):  # noqa: DJ008 - shown to no one
            what = models.IntegerField()
            object_id = models.IntegerField()

            class Meta:
                app_label = "cases"

        class Probe(models.Model):  # noqa: DJ008
            name = models.TextField()
            marks = GenericRelation(Mark, content_type_field="what")

            class Meta:
                app_label = "cases"

        monkeypatch.setattr(generic_relations, "real_apps", declared)
        yield
    connection.close()
    clean_up("default")


def breaks(sql: str) -> set[tuple[str | None, str, str | None]]:
    clean_up("default")
    case = Case("", FIRST, [[RunSQL(sql)]], ROWS)
    return {(each.model, each.action, each.sqlstate) for each in claimed(case).old_code}


@pytest.mark.usefixtures("_declared")
def test_a_deletion_compares_their_keys() -> None:
    wider = "ALTER TABLE cases_mark ALTER object_id TYPE text"

    assert breaks(wider) == {("cases.Probe", "delete", "42883")}


@pytest.mark.usefixtures("_declared")
def test_a_deletion_reads_their_table() -> None:
    found = breaks("ALTER TABLE cases_mark RENAME TO cases_marks")

    assert ("cases.Probe", "delete", "42P01") in found
    assert ("cases.Probe", "update", "42P01") not in found


@pytest.mark.usefixtures("_declared")
def test_nothing_breaks_beside_it() -> None:
    assert breaks("ALTER TABLE cases_mark ADD more int") == set()


def test_where_no_code_declares_it_there_is_none() -> None:
    assert breaks("ALTER TABLE cases_mark ALTER object_id TYPE text") == set()
    clean_up("default")
