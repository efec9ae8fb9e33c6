"""``COPY … WITH (FREEZE)``, which needs a transaction without cursors."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.db import connection
from psycopg import Cursor

from django_confiture.dry_run.transactions.at_commit.frozen_copies import NOT_FROZEN
from django_confiture.management.exit_codes import exit_code
from tests.support.dry_run import for_real, migration, python, rehearse, runs

pytestmark = pytest.mark.usefixtures("scratch")


def copying(options: str) -> Callable[[], None]:
    def code() -> None:
        with connection.cursor() as cursor:
            driver: Cursor[Any] = cursor.cursor
            with driver.copy(f"COPY dry_child (id, parent_id) FROM STDIN {options}") as copy:
                copy.write("1|1\n" if "|" in options else "1\t1\n")

    return code


@pytest.mark.parametrize("options", ["(FREEZE)", "(FREEZE true, DELIMITER '|')", "FREEZE"])
def test_it_is_not_called_a_failure_where_the_table_is_fresh(options: str) -> None:
    plan = [migration(runs("TRUNCATE dry_child"), python(copying(options)))]

    report = rehearse(*plan)

    assert exit_code(report) == 2
    assert NOT_FROZEN in report.warnings
    assert for_real(*plan) == ""


@pytest.mark.parametrize("atomic", [True, False])
def test_it_is_one_where_it_is_refused_for_real(*, atomic: bool) -> None:
    earlier = migration(runs("TRUNCATE dry_child"), name="0001_truncate")
    plan = [earlier, migration(python(copying("(FREEZE)")), name="0002_copy", atomic=atomic)]

    report = rehearse(*plan)

    assert exit_code(report) == 1
    assert "cannot perform COPY FREEZE" in for_real(*plan)


def test_a_plain_copy_is_exact() -> None:
    report = rehearse(migration(runs("TRUNCATE dry_child"), python(copying("(FREEZE false)"))))

    assert exit_code(report) == 0
