"""``confiture_stats --queries N``: which statements it takes from production, and what of them."""

from __future__ import annotations

import json
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import connection

from django_confiture.exceptions import StatsError
from django_confiture.production import load
from tests.support.server import OwnServer, own_server

__all__ = ["own_server"]  # a fixture

pytestmark = pytest.mark.django_db(transaction=True)

SECRET = "4111222"
_WORKLOAD = (
    "CREATE EXTENSION IF NOT EXISTS pg_stat_statements",
    "SELECT pg_stat_statements_reset()",
    "CREATE TABLE IF NOT EXISTS card (id integer PRIMARY KEY, number text)",
    *[f"SELECT number FROM card WHERE id = 1 /* {SECRET} */"] * 5,
    *[f"UPDATE card SET number = '{SECRET}' WHERE id = 2"] * 3,
    f"INSERT INTO card VALUES ({SECRET}, '{SECRET}')",
    f"DELETE FROM card WHERE number = '{SECRET}'",
    # What PostgreSQL counts as it is written.
    f"SET application_name = '{SECRET}'",
    f"DO $$ BEGIN PERFORM '{SECRET}'; END $$",
    f"BEGIN; DECLARE c CURSOR FOR SELECT * FROM card WHERE number = '{SECRET}'; COMMIT",
    f"PREPARE p AS SELECT * FROM card WHERE number = '{SECRET}'",
    f"EXPLAIN SELECT * FROM card WHERE number = '{SECRET}'",
    f"COMMENT ON TABLE card IS '{SECRET}'",
    f"CREATE ROLE card_owner PASSWORD '{SECRET}'; DROP ROLE card_owner",
)


def stats(*args: str) -> str:
    out = StringIO()
    call_command("confiture_stats", *args, stdout=out, stderr=StringIO(), no_color=True)
    return out.getvalue()


def test_the_most_frequent_ones_without_their_values(own_server: OwnServer, tmp_path: Path) -> None:
    with own_server.started(shared_preload_libraries="pg_stat_statements"):
        with own_server.connect() as other:
            for sql in _WORKLOAD:
                other.execute(sql)
        written = stats("--queries", "50")
        two = json.loads(stats("--queries", "2"))["queries"]
        assert "queries" not in json.loads(stats())
        with own_server.connect() as other:
            (known,) = other.execute(
                "SELECT string_agg(query, '; ') FROM pg_stat_statements"
            ).fetchall()
    assert SECRET in known[0]  # PostgreSQL itself keeps it
    assert SECRET not in written
    (tmp_path / "stats.json").write_text(written)
    found = load(tmp_path / "stats.json").queries
    assert [each.text for each in found][:2] == [
        "SELECT number FROM card WHERE id = $1",
        "UPDATE card SET number = $1 WHERE id = $2",
    ]
    assert {each.text.split()[0] for each in found} == {"SELECT", "UPDATE", "INSERT", "DELETE"}
    assert all(each.calls_per_second and each.mean_ms >= 0 and each.id for each in found)
    assert [each["text"] for each in two] == [each.text for each in found][:2]


def test_without_the_extension_the_way_to_it_is_named() -> None:
    connection.ensure_connection()
    with pytest.raises(CommandError, match="CREATE EXTENSION pg_stat_statements") as raised:
        stats("--queries", "5")
    assert raised.value.returncode == 2


@pytest.mark.parametrize("value", ["0", "-1", "x", "10001"])
def test_a_wrong_number_is_refused(value: str) -> None:
    with pytest.raises(CommandError, match=f"{value!r} is not a number from 1 to 10000"):
        stats(f"--queries={value}")


@pytest.mark.parametrize(
    ("queries", "problem"),
    [
        (5, "queries is 5, which is not a list"),
        ([{"id": "1", "text": 5}], r"queries\[0\].text is 5, which is not a string"),
        ([{"id": "1"}], r"queries\[0\].text is missing"),
    ],
)
def test_a_file_that_was_edited(tmp_path: Path, queries: Any, problem: str) -> None:
    file = tmp_path / "stats.json"
    file.write_text(json.dumps({**json.loads(stats()), "queries": queries}))
    with pytest.raises(StatsError, match=problem):
        load(file)
