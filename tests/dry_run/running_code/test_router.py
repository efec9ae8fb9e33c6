"""A model is tried on the alias where a router keeps it, and on no other."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from django.db import connections, models
from django.db.migrations import AddField, CreateModel
from django.db.migrations.state import ProjectState
from pytest_django import Settings

from tests.dry_run.running_code.test_rehearsal import rehearse
from tests.support.dry_run import clean_up, migration
from tests.support.release_cases.library import key

pytestmark = pytest.mark.django_db(transaction=True, databases=["default", "other"])

_TITLE = ("title", models.CharField(max_length=9))


class _TagsOnOther:
    """Keeps tags on the alias "other", and all other models on "default"."""

    def allow_migrate(self, db: str, app_label: str, **hints: Any) -> bool | None:
        name = hints.get("model_name")
        return (db == "other") == (name == "tag") if app_label == "cases" and name else None

    def db_for_read(self, model: type[models.Model], **hints: Any) -> str:
        return "other" if model._meta.model_name == "tag" else "default"

    db_for_write = db_for_read


@pytest.fixture
def state(settings: Settings) -> Iterator[ProjectState]:
    """Commit the table of each model on its alias."""
    settings.DATABASE_ROUTERS = [_TagsOnOther()]
    tables = [CreateModel(name, [("id", key()), _TITLE]) for name in ("Book", "Tag")]
    for alias in ("default", "other"):
        clean_up(alias)
        with connections[alias].schema_editor() as editor:
            found = migration(*tables, name="0001_first").apply(ProjectState(), editor)
    yield found
    for alias in ("default", "other"):
        connections[alias].close()
        clean_up(alias)


@pytest.mark.parametrize(("using", "lives_there"), [("default", "Book"), ("other", "Tag")])
def test_each_model_is_tried_where_it_lives(
    state: ProjectState, using: str, lives_there: str
) -> None:
    notes = [AddField(name, "note", models.TextField(default="")) for name in ("Book", "Tag")]

    deploy = rehearse(state, migration(*notes, name="0002_notes"), using=using).deploy

    label = f"cases.{lives_there}"
    assert deploy.order == "neither"
    assert {(each.model, each.action) for each in deploy.old_code} == {(label, "insert")}
    assert {each.model for each in deploy.new_code} == {label}
    assert deploy.not_checked == ()
