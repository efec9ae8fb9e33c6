"""manage.py confiture_backfills: what it prints, and what it ends with."""

from __future__ import annotations

import json
from io import StringIO
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from tests.support.backfills import PATH, books, counters, execute, shelf

__all__ = ["shelf"]  # a fixture

FILL = PATH + "FillSortTitle"
NO_ATTRIBUTE = f'Module "{PATH[:-1]}" does not define a "FillSortTitel" attribute/class'


def said(*arguments: str, **options: Any) -> str:
    output = StringIO()
    call_command("confiture_backfills", *arguments, stdout=output, stderr=StringIO(), **options)
    return output.getvalue()


def refused(*arguments: str) -> tuple[str, int]:
    with pytest.raises(CommandError) as caught:
        said(*arguments)
    return str(caught.value), caught.value.returncode


@pytest.mark.usefixtures("shelf")
def test_without_any_it_says_how_to_begin() -> None:
    first, *names = said().splitlines()
    assert first == "No backfill was started. Run one with: manage.py confiture_backfills run NAME"
    assert f"  {FILL}" in names


@pytest.mark.usefixtures("shelf")
def test_where_none_is_declared_it_says_where_to(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("django_confiture.backfills.declared.declaration.declared_backfills", dict)
    assert said() == (
        "No backfill was started. Declare one in <app>/backfills.py, then: "
        "manage.py confiture_backfills run NAME\n"
    )
    assert refused("run", "nonsense") == (
        (
            "'nonsense' is not a backfill: nonsense doesn't look like a module path; write its "
            "class in <app>/backfills.py."
        ),
        2,
    )


@pytest.mark.usefixtures("shelf")
def test_run_then_list() -> None:
    books(1500)
    line = f"{FILL}: completed, 1,500 of 1,500 rows (100 %)"
    assert said("run", FILL).splitlines()[-1].startswith(line)
    assert said().startswith(line)
    assert counters() == {1: 1500}


@pytest.mark.usefixtures("shelf")
def test_json_has_the_promised_keys() -> None:
    books(100)
    said("run", FILL)
    (found,) = json.loads(said("list", format="json"))
    assert list(found) == [
        *("name", "state", "done", "total", "percent", "rows_per_second", "remaining_seconds"),
        *("batch_size", "workers", "throttled_by", "last_error", "started_at", "finished_at"),
    ]
    assert (found["name"], found["state"], found["done"], found["total"]) == (
        FILL,
        "completed",
        100,
        100,
    )


@pytest.mark.usefixtures("shelf")
def test_pause_resume_cancel_retry() -> None:
    books(100)
    said("start", FILL)
    for action, state in [
        ("pause", "paused"),
        ("resume", "queued"),
        ("cancel", "cancelled"),
        ("retry", "queued"),
    ]:
        assert f"{FILL} is {state}" in said(action, FILL)
    assert f"{FILL}: queued" in said()


@pytest.mark.usefixtures("shelf")
def test_run_ends_with_1_where_it_is_not_complete() -> None:
    books(100)
    execute("UPDATE shelf_book SET title = repeat('x', 60) WHERE id = 7")
    message, code = refused("run", PATH + "Broken")
    assert code == 1
    assert message == (
        f"{PATH}Broken is not complete. 1 row can't be done; the first, 7: DataError: value too "
        "long for type character varying(100)"
    )


@pytest.mark.usefixtures("shelf")
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("run",), "Which one? manage.py confiture_backfills run NAME"),
        (("list", FILL), f"{FILL} was never started; use start, or run."),
        (("pause", FILL), f"{FILL} was never started; use start."),
        (
            ("run", PATH + "FillSortTitel"),
            f"'{PATH}FillSortTitel' is not a backfill: {NO_ATTRIBUTE}; did you mean '{FILL}'?",
        ),
    ],
)
def test_bad_input_ends_with_2(arguments: tuple[str, ...], message: str) -> None:
    assert refused(*arguments) == (message, 2)


@pytest.mark.usefixtures("shelf")
def test_what_is_not_possible_now_ends_with_2() -> None:
    books(10)
    said("run", FILL)
    assert refused("pause", FILL) == (
        f"{FILL} is completed; pause is for one that is queued or running.",
        2,
    )
    assert refused("cancel", FILL) == (
        f"{FILL} is completed; cancel is for one that is queued, running, paused or failed.",
        2,
    )


@pytest.mark.django_db
def test_without_the_app_it_says_what_to_add() -> None:
    assert refused("list") == (
        'Add "django_confiture.backfills" to INSTALLED_APPS, then migrate.',
        2,
    )
