"""Operations that a database router keeps off the database are not said to be rehearsed."""

from __future__ import annotations

import json
from typing import Any

import pytest
from django.db import models
from django.db.migrations import AddField, CreateModel, Migration, RunPython, RunSQL
from django.db.migrations.operations.base import Operation
from pytest_django import Settings

from django_confiture.dry_run.results import OperationResult
from django_confiture.reports import render
from tests.support.dry_run import migration, python, rehearse, runs

OFF = "a router's allow_migrate keeps it off 'default'; it runs on 'other': use --database other"


class OnOther:
    """Keeps the app "cases" on the alias "other", and hinted code nowhere at all."""

    def allow_migrate(self, db: str, app_label: str, **hints: Any) -> bool | None:
        if hints.get("nowhere"):
            return False
        return db == "other" if app_label == "cases" else None


@pytest.fixture
def routed(settings: Settings) -> None:
    settings.DATABASE_ROUTERS = [OnOther()]


def model() -> CreateModel:
    return CreateModel("Row", [("id", models.BigAutoField(primary_key=True))])


def nothing() -> None:
    """Do nothing."""


OPERATIONS: dict[str, list[Operation]] = {
    "schema": [model(), AddField("row", "extra", models.IntegerField(null=True))],
    "sql": [runs("UPDATE dry_row SET number = 1")],
    "python": [python(nothing)],
}


def operations(*of: Operation) -> tuple[OperationResult, ...]:
    (result,) = rehearse(migration(*of)).migrations
    assert result.error is None
    return result.operations


@pytest.mark.parametrize("name", OPERATIONS)
def test_what_the_router_keeps_off_is_said_to_be(scratch: None, routed: None, name: str) -> None:
    for each in operations(*OPERATIONS[name]):
        assert (each.rehearsed, each.reason) == ("skipped_by_router", OFF)


def test_no_other_database_either(scratch: None, routed: None) -> None:
    sql = RunSQL("SELECT 1", RunSQL.noop, hints={"nowhere": True})
    (found,) = operations(sql)
    assert (
        found.reason
        == "a router's allow_migrate keeps it off 'default', and no other alias takes it"
    )


def test_what_runs_is_exact(scratch: None) -> None:
    assert [each.rehearsed for each in operations(runs("SELECT 1"), python(nothing))] == [
        "exact",
        "exact",
    ]


def test_what_runs_in_spite_of_the_router_is_rehearsed(scratch: None, routed: None) -> None:
    class Stubborn(RunPython):
        """Asks, and does it all the same."""

        def database_forwards(self, app_label: str, editor: Any, *states: Any) -> None:
            super().database_forwards(app_label, editor, *states)
            editor.execute("UPDATE dry_row SET number = 1 WHERE id = 1")

    (found,) = operations(Stubborn(lambda apps, editor: None, RunPython.noop))
    assert found.rehearsed == "exact"
    assert found.statements


def test_reports_say_so(scratch: None, routed: None) -> None:
    report = rehearse(migration(*OPERATIONS["schema"]))
    document = json.loads(render(report, "json"))
    assert document["coverage"] == {
        "exact": 0,
        "substituted": 0,
        "not_rehearsed": 0,
        "unseen": 0,
        "skipped_by_router": 2,
    }
    text = " ".join(render(report, "text", verbosity=2).split())
    assert f"does not run on this database: {OFF}" in text
    assert "2 operations not on this database (router)" in text
    assert "blocks no one" not in text


def test_a_plan_of_both(scratch: None, routed: None) -> None:
    cases, shop = migration(runs("SELECT 1")), migration(runs("SELECT 1"), app="shop")
    first, second = rehearse(cases, shop).migrations
    assert [op.rehearsed for each in (first, second) for op in each.operations] == [
        "skipped_by_router",
        "exact",
    ]
    assert isinstance(cases, Migration)
