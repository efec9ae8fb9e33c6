"""What can't be tried is said, and is never an error of the dry run."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from django.db import connection, models, transaction
from django.db.migrations import AddField, RunSQL
from django.db.migrations.state import ModelState, ProjectState

from django_confiture.dry_run.running_code.releases import Tools
from tests.dry_run.running_code.test_rehearsal import rehearse, state
from tests.support.dry_run import migration

__all__ = ["state"]  # a fixture

pytestmark = pytest.mark.django_db(transaction=True)

_NOTE = AddField("Tag", "note", models.TextField(null=True))


@pytest.fixture
def _reader(state: ProjectState) -> Iterator[None]:
    """Be a role that may alter what it owns, but may not insert."""
    with connection.cursor() as cursor:
        cursor.execute(
            "DROP ROLE IF EXISTS dry_reader; CREATE ROLE dry_reader;"
            "GRANT USAGE, CREATE ON SCHEMA public TO dry_reader;"
            "GRANT ALL ON ALL TABLES IN SCHEMA public TO dry_reader;"
            "ALTER TABLE cases_tag OWNER TO dry_reader;"
            "REVOKE INSERT ON cases_tag FROM dry_reader;"
            "SET SESSION AUTHORIZATION dry_reader"
        )
    yield
    with connection.cursor() as cursor:
        cursor.execute("RESET SESSION AUTHORIZATION; ALTER TABLE cases_tag OWNER TO CURRENT_USER")
        cursor.execute("DROP OWNED BY dry_reader; DROP ROLE dry_reader")


def test_a_state_that_cannot_be_rendered_says_so(state: ProjectState) -> None:
    owner: Any = models.ForeignKey("gone.Owner", models.CASCADE)
    lost = [("id", models.BigAutoField(primary_key=True)), ("owner", owner)]
    state.models["cases", "lost"] = ModelState("cases", "Lost", lost)
    plan = migration(RunSQL("ALTER TABLE cases_tag ADD note text"), name="0002_note")

    deploy = rehearse(state, plan).deploy

    assert deploy.order == "unknown"
    (why,) = deploy.not_checked
    assert why.startswith("The models can't be rendered: ")
    assert "gone.owner" in why


@pytest.mark.usefixtures("_reader")
def test_what_the_role_may_not_do_is_not_checked(state: ProjectState) -> None:
    deploy = rehearse(state, migration(_NOTE, name="0002_note")).deploy
    assert "INSERT of cases.Tag: permission denied for table cases_tag" in deploy.not_checked
    assert not deploy.old_code


@pytest.mark.usefixtures("_reader")
@pytest.mark.parametrize(("right", "may_be_there"), [("GRANT", False), ("REVOKE", True)])
def test_rows_that_cannot_be_looked_for_may_be_there(
    state: ProjectState, right: str, *, may_be_there: bool
) -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            "RESET SESSION AUTHORIZATION; DELETE FROM cases_book_tags;"
            f"{right} SELECT ON cases_book_tags {'TO' if right == 'GRANT' else 'FROM'} dry_reader;"
            "SET SESSION AUTHORIZATION dry_reader"
        )
    tools = Tools(connection, ())
    (table,) = tools.catalog.tables(["cases_book_tags"])
    with transaction.atomic(), tools.connection.probing(state.apps):
        assert tools.rows.any_refers(table.outgoing[0], unlike=()) is may_be_there


def test_a_field_whose_extension_is_missing_is_not_checked(state: ProjectState) -> None:
    place: Any = [("id", models.BigAutoField(primary_key=True)), ("at", _Point(null=True))]
    state.models["cases", "place"] = ModelState("cases", "Place", place)
    with connection.cursor() as cursor:
        cursor.execute("CREATE TABLE cases_place (id bigserial PRIMARY KEY, at text)")

    plan = migration(RunSQL("ALTER TABLE cases_place ADD note text"), name="0002_note")
    deploy = rehearse(state, plan).deploy

    assert any("cases.Place: type" in each for each in deploy.not_checked)
    assert not deploy.old_code


class _Point(models.Field):  # type: ignore[type-arg]
    """A field of a type that an extension has."""

    def db_type(self, connection: Any) -> str:
        return "dry_point"

    def get_placeholder(self, value: Any, compiler: Any, connection: Any) -> str:
        return "%s::dry_point"

    def get_placeholder_sql(self, value: Any, compiler: Any, connection: Any) -> tuple[str, Any]:
        """Do the same, as Django asks from 6.1 on."""
        return "%s::dry_point", (value,)
