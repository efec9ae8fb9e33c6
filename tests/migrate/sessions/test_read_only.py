"""A database that can't be written to is refused before anything has run."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from django.core.management.base import CommandError
from django.db import connection, migrations
from pytest_django import Settings

from tests.cases.migrations_on_disk import Cases


@pytest.fixture
def read_only(history: None, cases: Cases) -> Iterator[None]:
    with connection.cursor() as cursor:
        cursor.execute("SET default_transaction_read_only = on")
    yield
    connection.close()


@pytest.mark.usefixtures("read_only")
@pytest.mark.parametrize("confiture", [{}, {"MIGRATE": {"ONE_AT_A_TIME": False}}])
def test_it_is_refused(cases: Cases, settings: Settings, confiture: dict[str, Any]) -> None:
    settings.CONFITURE = confiture
    cases.add("0001_any", migrations.RunSQL("SELECT 1"))

    with pytest.raises(CommandError) as caught:
        cases.migrate()

    assert str(caught.value) == (
        "'default' is read-only: default_transaction_read_only is on, so set it to off for the "
        "role that migrates. Nothing has run."
    )
