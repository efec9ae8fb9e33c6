"""A database that can't be written to is refused before anything has run."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.core.management.base import CommandError
from django.db import connection, migrations
from pytest_django import Settings

from tests.cases.migrations_on_disk import Cases

AS_SAID = (
    "'default' is read-only: default_transaction_read_only is on, so set it to off for the role "
    "that migrates. Nothing has run."
)


@pytest.fixture
def make_read_only(cases: Cases) -> Iterator[Callable[[], None]]:
    def make() -> None:
        with connection.cursor() as cursor:
            cursor.execute("SET default_transaction_read_only = on")

    yield make
    connection.close()


@pytest.mark.parametrize("migrate", [{"MAX_BLOCKING": "1s"}, {"RESUME": True}])
def test_it_is_refused_where_a_setting_needs_it(
    history: None,
    cases: Cases,
    settings: Settings,
    make_read_only: Callable[[], None],
    migrate: dict[str, Any],
) -> None:
    settings.CONFITURE = {"MIGRATE": migrate}
    cases.add("0001_any", migrations.RunSQL("SELECT 1"))
    make_read_only()

    with pytest.raises(CommandError, match=AS_SAID):
        cases.migrate()


def test_it_is_refused_where_there_is_a_journal(
    history: None, cases: Cases, make_read_only: Callable[[], None]
) -> None:
    cases.add("0001_any", migrations.RunSQL("SELECT 1"))
    make_read_only()

    with pytest.raises(CommandError, match=AS_SAID):
        cases.migrate()


def test_elsewhere_a_migration_may_say_that_it_writes(
    cases: Cases, make_read_only: Callable[[], None]
) -> None:
    cases.add("0001_any", migrations.RunSQL("SET TRANSACTION READ WRITE"))
    make_read_only()

    cases.migrate()

    assert "0001_any" in cases.applied()
