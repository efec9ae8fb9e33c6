"""What is done beside the tables that are tried costs no look at them, unless it comes to them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from django.db import connection, connections, models
from django.db.migrations import AddField, CreateModel, RunSQL
from django.db.migrations.state import ProjectState

from django_confiture.dry_run.results import Report
from django_confiture.dry_run.running_code.catalog.facts import CatalogFacts
from django_confiture.dry_run.transaction_rehearsal import transaction_rehearsal
from tests.support.dry_run import apply_from, clean_up, migration
from tests.support.release_cases.library import ROWS, library
from tests.support.releases import Writer, applied

pytestmark = pytest.mark.django_db(transaction=True)

_LOGGED = """
    CREATE TABLE cases_log (tag bigint);
    CREATE FUNCTION dry_logs() RETURNS trigger LANGUAGE plpgsql AS $$
      BEGIN INSERT INTO cases_log VALUES (new.id); RETURN new; END $$;
    CREATE TRIGGER dry_logs BEFORE INSERT ON cases_tag FOR EACH ROW EXECUTE FUNCTION dry_logs();
"""
_SEEN = """
    CREATE TABLE dry_base (LIKE cases_tag INCLUDING ALL);
    INSERT INTO dry_base SELECT * FROM cases_tag;
    DROP TABLE cases_tag CASCADE;
    CREATE VIEW cases_tag AS SELECT * FROM dry_base
"""
_ALTERS = """
    CREATE FUNCTION dry_alters() RETURNS integer LANGUAGE plpgsql AS $$
      BEGIN ALTER TABLE cases_tag ADD place text; RETURN 1; END $$;
    CREATE FUNCTION dry_requires() RETURNS integer LANGUAGE plpgsql AS $$
      BEGIN ALTER TABLE cases_tag ADD CHECK (place IS NOT NULL) NOT VALID; RETURN 1; END $$;
    CREATE TABLE cases_other (id integer);
    INSERT INTO cases_other VALUES (dry_alters())
"""
_TOUCHED = AddField("Book", "note", models.TextField(null=True))
"""So that books are looked at, and a tag is tried."""


@pytest.fixture
def state() -> Iterator[ProjectState]:
    """Commit the library, with rows."""
    clean_up("default")
    found = applied(ProjectState(), migration(*library(), name="0001_first"))
    Writer(found, ROWS).fill(unfilled=())
    yield found
    connection.close()
    clean_up("default")


def _rehearse(state: ProjectState, *operations: Any) -> Report:
    plan = [migration(each, name=f"{at:04}_step") for at, each in enumerate(operations, 2)]
    rehearsal = transaction_rehearsal(connections["default"], running_code=True)
    apply_from(state, rehearsal, connections["default"], plan)
    return rehearsal.report()


def _breaks(report: Report) -> list[tuple[str | None, str, str | None]]:
    return [(each.model, each.action, each.migration) for each in report.deploy.old_code]


def test_tables_of_its_own_cost_no_look(
    state: ProjectState, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks: list[int] = []
    look = CatalogFacts.changes

    def counting(self: CatalogFacts, *args: Any) -> Any:
        looks.append(1)
        return look(self, *args)

    monkeypatch.setattr(CatalogFacts, "changes", counting)
    own: list[Any] = [
        CreateModel("Other", [("id", models.BigAutoField(primary_key=True))]),
        AddField("Other", "name", models.CharField(max_length=9, db_index=True, null=True)),
    ]
    _rehearse(state, _TOUCHED, *own)
    assert len(looks) == len(("the start", "the first migration"))


@pytest.mark.parametrize(
    ("made", "later", "action"),
    [
        (_LOGGED, "ALTER TABLE cases_log ADD place text NOT NULL", "insert"),
        (_SEEN, "ALTER TABLE dry_base ADD CHECK (false) NOT VALID", "update"),
        (
            _ALTERS,
            "ALTER TABLE cases_other ADD one integer DEFAULT dry_requires()",
            "insert",
        ),
    ],
)
def test_what_comes_to_them_by_another_way_is_tried(
    state: ProjectState, made: str, later: str, action: str
) -> None:
    first, last = (RunSQL(each, RunSQL.noop) for each in (made, later))
    report = _rehearse(state, first, _TOUCHED, last)
    assert report.outcome == "passed", report.migrations
    assert ("cases.Tag", action, "cases.0004_step") in _breaks(report), report.deploy
