"""Trees of expressions: the functions that their numbers mean, and what is found in them."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from django_confiture.dry_run.sql.transactions.transaction_wide import OWN_SETTINGS
from django_confiture.dry_run.transactions.at_commit.node_trees import (
    CURRENT_SETTING,
    NUMBER,
    SET_CONFIG,
    TIME,
    calls,
    calls_one,
    constants,
    reads_time,
)
from tests.support.dry_run import plain_connection

pytestmark = pytest.mark.django_db

_MEANT = "'^(txid|pg_snapshot|pg_current_xact_id|pg_current_snapshot|pg_xact_status|pg_visible_in)'"
"""What tells the number of a transaction, as ``transaction_wide`` names it."""


def one(query: str) -> object:
    with plain_connection() as conn:
        (row,) = conn.execute(query).fetchall()
    return row[0]


@pytest.mark.parametrize(
    ("oids", "names"),
    [
        (TIME, {"now", "transaction_timestamp"}),
        (CURRENT_SETTING, {"current_setting"}),
        (SET_CONFIG, {"set_config"}),
    ],
)
def test_the_numbers_are_those_of_all_functions_of_the_name(
    oids: Iterable[int], names: set[str]
) -> None:
    named = ", ".join(f"'{name}'" for name in names)
    found = one(
        "SELECT array_agg(oid::int ORDER BY oid) FROM pg_proc"
        f" WHERE pronamespace = 'pg_catalog'::regnamespace AND proname IN ({named})"
    )
    assert found == sorted(oids)


def test_the_numbers_of_what_tells_a_transaction_apart() -> None:
    """The input and output functions of the type are of no use in an expression."""
    found = one(
        f"SELECT array_agg(oid::int ORDER BY oid) FROM pg_proc WHERE proname ~ {_MEANT}"
        " AND proname !~ '_(in|out|recv|send)$'"
    )
    assert found == sorted(NUMBER)


@pytest.mark.parametrize(
    ("default", "condition", "expected"),
    [
        ("now()", reads_time("adbin::text"), True),
        ("CURRENT_TIMESTAMP", reads_time("adbin::text"), True),
        ("LOCALTIMESTAMP(3)", reads_time("adbin::text"), True),
        ("CURRENT_DATE", reads_time("adbin::text"), False),
        ("clock_timestamp()", reads_time("adbin::text"), False),
        ("txid_current()", calls("adbin::text", NUMBER), True),
        ("pg_xact_status('1')", calls("adbin::text", NUMBER), True),
        ("random()", calls("adbin::text", NUMBER), False),
        ("random()", calls_one("adbin::text", "'random()'::regprocedure::oid"), True),
        ("now()", calls_one("adbin::text", "'random()'::regprocedure::oid"), False),
    ],
)
def test_what_a_default_calls(default: str, condition: str, expected: bool) -> None:
    with plain_connection() as conn:
        conn.execute(f"CREATE TEMP TABLE dry_tree (value text DEFAULT ({default})::text)")
        query = f"SELECT {condition} FROM pg_attrdef WHERE adrelid = 'dry_tree'::regclass"
        assert conn.execute(query).fetchall() == [(expected,)]


@pytest.mark.parametrize(("setting", "expected"), [("lock_timeout", True), ("work_mem", False)])
def test_the_names_in_a_tree(setting: str, expected: bool) -> None:
    with plain_connection() as conn:
        conn.execute(
            f"CREATE TEMP TABLE dry_tree (value text DEFAULT current_setting('{setting}'))"
        )
        query = "SELECT adbin::text FROM pg_attrdef WHERE adrelid = 'dry_tree'::regclass"
        ((tree,),) = conn.execute(query).fetchall()
    assert (constants(OWN_SETTINGS).search(tree) is not None) is expected
