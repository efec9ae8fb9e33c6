"""What no model tells of is tried, and is no break: the report says that it fails."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from django.db import connection, models
from django.db.migrations import AlterField, RunSQL

from tests.dry_run.running_code.test_corpus import claimed
from tests.support.dry_run import clean_up
from tests.support.release_cases.things import TITLE, thing

pytestmark = pytest.mark.django_db(transaction=True)

_SAYS = "no model tells if the {} release does so; {} the plan {}"


@pytest.fixture(autouse=True)
def _clean() -> Iterator[None]:
    clean_up("default")
    yield
    connection.close()
    clean_up("default")


def test_a_comparison_with_a_column_of_another_type_fails_in_the_running_release() -> None:
    number = models.IntegerField(default=1)
    found = claimed(
        thing("", [TITLE, ("number", number)], AlterField("Thing", "number", models.TextField()))
    )

    why = "operator does not exist: text = integer"
    said = _SAYS.format("running", "after", why)
    assert found.not_checked == (f"filter(number=...) of cases.Thing: {said}",)
    assert not found.old_code


def test_a_comparison_fails_in_the_new_release_until_the_column_has_its_type() -> None:
    text = models.CharField(max_length=9, default="1")
    using = RunSQL(
        "ALTER TABLE cases_thing ALTER number TYPE integer USING number::integer",
        state_operations=[AlterField("Thing", "number", models.IntegerField(default=1))],
    )
    found = claimed(thing("", [TITLE, ("number", text)], using))

    why = "operator does not exist: character varying = integer"
    said = _SAYS.format("new", "before", why)
    assert f"filter(number=...) of cases.Thing: {said}" in found.not_checked
    assert "select" not in {each.action for each in (*found.old_code, *found.new_code)}


def test_a_key_that_the_server_alone_makes_can_not_be_given() -> None:
    found = claimed(
        thing("", [TITLE], RunSQL("ALTER TABLE cases_thing ALTER id SET GENERATED ALWAYS"))
    )

    said = _SAYS.format("running", "after", 'cannot insert a non-DEFAULT value into column "id"')
    assert found.not_checked == (f"an INSERT with its key of cases.Thing: {said}",)
    assert not found.old_code
