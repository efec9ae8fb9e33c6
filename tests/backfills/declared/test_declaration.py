"""Declarations that can't run, and settings: each mistake with its exact words."""

from __future__ import annotations

import re
from typing import Any

import pytest
from django.core.checks import Error
from django.db.models import Q
from pytest_django import Settings

from django_confiture.backfills import Backfill
from django_confiture.conf import SettingError
from django_confiture.exceptions import BackfillLookupError
from tests.support.backfills import shelf
from tests.support.paths import DOCS

__all__ = ["shelf"]  # a fixture

pytestmark = pytest.mark.usefixtures("shelf")
WHERE = Q(sort_title=None)
TOO_SHORT = (
    'CONFITURE["BACKFILLS"]["LEASE"] is 5 s, but a batch may take LOCK_TIMEOUT and '
    "STATEMENT_TIMEOUT."
)
BETWEEN = "UPDATE shelf_book SET times_filled = 1 WHERE id BETWEEN %(low)s AND %(high)s"


def process(self: Backfill, rows: Any) -> None:
    """Do nothing."""


@pytest.mark.parametrize(
    ("attributes", "problem"),
    [
        ({}, 'model is None; write "app_label.Model"'),
        ({"model": "Book"}, "model is 'Book'; write \"app_label.Model\""),
        (
            {"model": "shelf.Bok", "where": WHERE, "values": {}},
            "model is 'shelf.Bok': App 'shelf' doesn't have a 'Bok' model.",
        ),
        (
            {"model": "shelf.Book", "where": WHERE},
            "it has none of values, process() and sql; write exactly one of them",
        ),
        (
            {"model": "shelf.Book", "where": WHERE, "values": {"title": "x"}, "process": process},
            "it has values and process() of values, process() and sql; write exactly one of them",
        ),
        (
            {"model": "shelf.Book", "values": {"title": "x"}},
            "where is missing; write a Q that says which rows are still to be done",
        ),
        (
            {"model": "shelf.Everything", "where": Q(id__gt=1) & ~Q(data=None), "values": {}},
            "where has data=None, which finds JSON's null and no NULL; write data__isnull=True",
        ),
        (
            {"model": "shelf.Book", "where": WHERE, "values": {"titel": "x"}},
            "'titel' is not a field of shelf.Book; write the field's name",
        ),
        (
            {"model": "shelf.Book", "where": WHERE, "process": process, "mirror": True},
            "mirror needs values; write values, or leave mirror out",
        ),
        (
            {"model": "shelf.Book", "where": WHERE, "values": {"title": "x"}, "fields": ("title",)},
            "fields is for process(); leave it out",
        ),
        (
            {"model": "shelf.Book", "sql": "UPDATE shelf_book SET title = 'x'"},
            "sql lacks %(low)s or %(high)s; write BETWEEN %(low)s AND %(high)s",
        ),
        (
            {"model": "shelf.Book", "sql": "… id >= %(low)s AND id < %(high)s"},
            "sql has < %(high)s, which leaves a row out; write <= %(high)s",
        ),
        (
            {"model": "shelf.Loan", "sql": "… id > %(low)s AND id <= %(high)s"},
            "sql has > %(low)s, which leaves a row out; write >= %(low)s",
        ),
        (
            {"model": "shelf.Book", "sql": BETWEEN, "on_row_error": "skip"},
            'on_row_error is \'skip\'; write "stop" or "continue"',
        ),
    ],
)
def test_a_declaration_that_can_not_run(attributes: dict[str, Any], problem: str) -> None:
    from django_confiture.backfills.declared.declaration import problems

    assert problems(type("Wrong", (Backfill,), attributes)()) == [problem]


def test_where_may_name_a_field_that_was_there_when_its_migration_ran() -> None:
    from django_confiture.backfills.declared.declaration import problems

    attributes = {"model": "shelf.Loan", "where": Q(gone=None), "values": {"note": "x"}}
    assert problems(type("FromThen", (Backfill,), attributes)()) == []


class Unfinished(Backfill):
    """Says what it is about, and not what to do."""

    model = "shelf.Book"


@pytest.mark.parametrize(
    ("path", "problem"),
    [
        (f"{__name__}.Unfinished", "it has none of values, process() and sql"),
        (f"{__name__}.TOO_SHORT", "write a subclass of Backfill"),
        ("nowhere.at.All", "No module named 'nowhere'; declared are "),
    ],
)
def test_a_path_that_leads_to_no_backfill_that_can_run(path: str, problem: str) -> None:
    from django_confiture.backfills.declared.declaration import load_backfill

    with pytest.raises(BackfillLookupError, match=re.escape(problem)):
        load_backfill(path)


def test_e030_names_the_class(monkeypatch: pytest.MonkeyPatch) -> None:
    from django_confiture.backfills.checks import check_backfills
    from tests.backfills.shelf import backfills

    assert check_backfills() == []
    monkeypatch.setattr(backfills.FillSortTitle, "on_row_error", "skip")
    path = "tests.backfills.shelf.backfills.FillSortTitle"
    assert check_backfills() == [
        Error(
            f"{path}: on_row_error is 'skip'.",
            hint='Write "stop" or "continue".',
            obj=path,
            id="confiture.E030",
        )
    ]


@pytest.mark.parametrize(
    ("given", "problem", "hint"),
    [
        ({"MIN": 0}, 'CONFITURE["BACKFILLS"]["MIN"] is 0.', "Write a number, 1 or more."),
        (
            {"MIN": 10, "MAX": 5},
            'CONFITURE["BACKFILLS"] has MIN 10 above MAX 5.',
            "Write a smaller MIN.",
        ),
        (
            {"LEASE": "5s"},
            TOO_SHORT,
            "Write a LEASE that is longer than both together.",
        ),
        (
            {"TARGET": "0s"},
            'CONFITURE["BACKFILLS"]["TARGET"] is \'0s\'.',
            'Write a duration, such as "2s".',
        ),
    ],
)
def test_e031_unusable_options(
    settings: Settings, given: dict[str, Any], problem: str, hint: str
) -> None:
    from django_confiture.backfills.checks import check_backfills

    settings.CONFITURE = {"BACKFILLS": given}
    assert check_backfills() == [Error(problem, hint=hint, obj="settings", id="confiture.E031")]


def test_e032_no_throttle(settings: Settings) -> None:
    from django_confiture.backfills.checks import check_backfills

    settings.CONFITURE = {"BACKFILLS": {"THROTTLES": ["builtins.int"]}}
    found = check_backfills()[0]
    assert found.msg == 'CONFITURE["BACKFILLS"]["THROTTLES"][0] is \'builtins.int\'.'
    assert (found.hint, found.id) == ("Write the path of a Throttle.", "confiture.E032")


def test_e032_without_a_backfill(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    from django_confiture.backfills import checks

    monkeypatch.setattr(checks, "declared_backfills", dict)
    settings.CONFITURE = {"BACKFILLS": {"THROTTLES": ["nowhere.Throttle"]}}
    (found,) = checks.check_backfills()
    assert found.msg == (
        'CONFITURE["BACKFILLS"]["THROTTLES"][0] names \'nowhere.Throttle\': '
        "No module named 'nowhere'."
    )
    assert (found.obj, found.id) == ("settings", "confiture.E032")


def test_e032_names_the_class_whose_own_throttle_leads_nowhere(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from django_confiture.backfills.checks import check_backfills
    from tests.backfills.shelf import backfills

    monkeypatch.setattr(backfills.FillSortTitle, "throttles", ["builtins.int"])
    path = "tests.backfills.shelf.backfills.FillSortTitle"
    (found,) = check_backfills()
    assert found.msg == f"{path}.throttles[0] is 'builtins.int'."
    assert (found.obj, found.id) == (path, "confiture.E032")


def test_settings_of_the_wrong_type_are_reported_once(settings: Settings) -> None:
    from django_confiture.backfills.checks import check_backfills
    from django_confiture.backfills.options import backfill_options

    settings.CONFITURE = {"BACKFILLS": {"MIN": "many"}}
    assert check_backfills() == []  # E001 and the like are the other checks'
    with pytest.raises(SettingError, match=r'\["MIN"\] is \'many\''):
        backfill_options()


def test_every_check_and_throttle_is_documented() -> None:
    from django_confiture.backfills import checks
    from django_confiture.backfills.throttles import shipped as throttles

    page = (DOCS / "backfills.md").read_text()
    for number in ("E030", "E031", "E032"):
        assert number in str(checks.__doc__)
        assert f"`confiture.{number}`" in page
    for each in throttles.Throttle.__subclasses__():
        if each.__module__ == throttles.__name__:
            assert f"| `{each.__name__}` |" in page
