"""What passes and what fails by where a transaction begins and ends: dry as it is for real."""

from __future__ import annotations

from typing import NamedTuple

import pytest
from django.db.migrations import Migration

from tests.support.dry_run import for_real, migration, rehearse, runs

WRITES = "UPDATE dry_row SET number = 1"
READ_ONLY = "cannot execute UPDATE in a read-only transaction"
PARTITIONED = (
    "CREATE TABLE dry_whole (k int) PARTITION BY RANGE (k);"
    "CREATE TABLE dry_a PARTITION OF dry_whole FOR VALUES FROM (0) TO (10)"
)
DETACH = "ALTER TABLE dry_whole DETACH PARTITION dry_a CONCURRENTLY"
LEFT_OPEN = "can't change 'autocommit' now: connection in transaction status INTRANS"


class Case(NamedTuple):
    """Scripts, each an operation, and the error that they end with."""

    scripts: tuple[str, ...]
    error: str = ""
    atomic: bool = False
    marked: bool = False
    """Whether an operation is not rehearsed, with the reason."""


def only_in_blocks(name: str) -> str:
    return f"{name} can only be used in transaction blocks"


def never_in_blocks(name: str) -> str:
    return f"{name} cannot run inside a transaction block"


CASES = {
    # Savepoints need a transaction that was begun; that of a script is none.
    "savepoint": Case(("SAVEPOINT a",), only_in_blocks("SAVEPOINT")),
    "savepoint in a script": Case((f"SAVEPOINT a; {WRITES}",), only_in_blocks("SAVEPOINT")),
    "savepoint after its end": Case(
        (f"BEGIN; {WRITES}; COMMIT; SAVEPOINT a",), only_in_blocks("SAVEPOINT")
    ),
    "release": Case(("RELEASE a",), only_in_blocks("RELEASE SAVEPOINT")),
    "rollback to": Case((f"{WRITES}; ROLLBACK TO a",), only_in_blocks("ROLLBACK TO SAVEPOINT")),
    "savepoint in a transaction": Case((f"BEGIN; SAVEPOINT a; {WRITES}; RELEASE a; COMMIT",)),
    "savepoint in an atomic one": Case((f"SAVEPOINT a; {WRITES}; ROLLBACK TO a",), atomic=True),
    # What is begun is to be ended.
    "begin": Case((f"BEGIN; {WRITES}",), LEFT_OPEN),
    "begin, end in the next": Case((f"BEGIN; {WRITES}", "COMMIT")),
    "commit and begin": Case((f"{WRITES}; COMMIT; BEGIN; {WRITES}",), atomic=True),
    # Modes.
    "begin read only": Case((f"BEGIN READ ONLY; {WRITES}; COMMIT",), READ_ONLY),
    "read only ends with it": Case((f"BEGIN READ ONLY; SELECT 1; COMMIT; {WRITES}",)),
    "start read write": Case((f"START TRANSACTION READ WRITE; {WRITES}; COMMIT",)),
    "set read only": Case(("SET TRANSACTION READ ONLY", WRITES), READ_ONLY, atomic=True),
    "set read only outside": Case(("SET TRANSACTION READ ONLY", WRITES)),
    "begin serializable": Case(
        (f"BEGIN ISOLATION LEVEL SERIALIZABLE; {WRITES}; COMMIT",), marked=True
    ),
    "default modes": Case(
        ("SET default_transaction_isolation = 'serializable'", WRITES), marked=True
    ),
    "isolation too late": Case(
        (WRITES, "SET TRANSACTION ISOLATION LEVEL SERIALIZABLE"),
        "SET TRANSACTION ISOLATION LEVEL must be called before any query",
        atomic=True,
        marked=True,
    ),
    "isolation after a setting": Case(
        ("SET LOCAL work_mem = '5MB'", "SET TRANSACTION ISOLATION LEVEL SERIALIZABLE"),
        atomic=True,
        marked=True,
    ),
    "isolation that it has": Case(
        (WRITES, "SET TRANSACTION ISOLATION LEVEL READ COMMITTED"), atomic=True, marked=True
    ),
    "characteristics": Case(
        ("SET SESSION CHARACTERISTICS AS TRANSACTION ISOLATION LEVEL SERIALIZABLE",), marked=True
    ),
    "default modes, local": Case(
        ("SET LOCAL default_transaction_isolation = 'serializable'", WRITES), atomic=True
    ),
    # What is set locally outside a transaction changes nothing, then or later.
    "local outside": Case(
        (
            "SET LOCAL dry.mode = 'a'",
            "DO $$ BEGIN PERFORM set_config('dry.mode', 'b', false); END $$",
            "SELECT 1 / (current_setting('dry.mode') <> 'b')::int",
        ),
        "division by zero",
    ),
    # What can't be in a transaction.
    "discard all": Case(("DISCARD ALL",), marked=True),
    "discard all in one": Case(("DISCARD ALL",), never_in_blocks("DISCARD ALL"), atomic=True),
    "discard temp": Case(
        ("CREATE TEMP TABLE dry_t (id int)", "DISCARD TEMP", "SELECT * FROM dry_t"),
        'relation "dry_t" does not exist',
    ),
    "discard plans": Case(("DISCARD PLANS", "DISCARD SEQUENCES"), atomic=True),
    "second phase": Case(
        ("ROLLBACK PREPARED 'dry'",), never_in_blocks("ROLLBACK PREPARED"), atomic=True
    ),
    "vacuum in a script": Case(("VACUUM dry_row; SELECT 1",), never_in_blocks("VACUUM")),
    # What waits for the COMMIT.
    "deferred": Case(("INSERT INTO dry_child VALUES (1001, 77)",), "violates foreign key"),
    "deferred in a script": Case(
        ("INSERT INTO dry_child VALUES (1001, 77); INSERT INTO dry_parent VALUES (77)",)
    ),
    "pending events": Case(
        ("INSERT INTO dry_child VALUES (1001, 1)", "TRUNCATE dry_child"),
        "pending trigger events",
        atomic=True,
    ),
    "none pending": Case(("INSERT INTO dry_child VALUES (1001, 1)", "TRUNCATE dry_child")),
    # What DETACH … CONCURRENTLY leaves.
    "detach leaves a check": Case(
        (PARTITIONED, DETACH, "INSERT INTO dry_a VALUES (50)"),
        'violates check constraint "dry_a_k_check"',
    ),
    "detach, and its check is dropped": Case(
        (PARTITIONED, DETACH, "ALTER TABLE dry_a DROP CONSTRAINT dry_a_k_check"),
    ),
    "detach where a check may do": Case(
        (PARTITIONED, "ALTER TABLE dry_a ADD CHECK (k >= 0 AND k < 10)", DETACH), marked=True
    ),
    "detach by hash": Case(
        (
            (
                "CREATE TABLE dry_whole (k int) PARTITION BY HASH (k); CREATE TABLE dry_a"
                " PARTITION OF dry_whole FOR VALUES WITH (MODULUS 1, REMAINDER 0)"
            ),
            DETACH,
            "DROP TABLE dry_whole; INSERT INTO dry_a VALUES (1)",
        ),
    ),
    # Rules of the server's own.
    "view": Case(
        (
            "CREATE VIEW dry_view AS SELECT number FROM dry_row",
            "ALTER TABLE dry_row ALTER number TYPE bigint",
        ),
        "cannot alter type of a column used by a view",
    ),
    "truncate": Case(("TRUNCATE dry_parent",), "cannot truncate a table referenced"),
    "truncate cascade": Case(("TRUNCATE dry_parent CASCADE",), atomic=True),
    "replica": Case(
        ("SET LOCAL session_replication_role = replica;INSERT INTO dry_child VALUES (1001, 77)",),
        atomic=True,
    ),
    "search path": Case(
        (
            "CREATE SCHEMA dry_path; SET search_path = dry_path",
            "CREATE TABLE dry_made (id int)",
            "INSERT INTO dry_path.dry_made VALUES (1); RESET search_path",
            "DROP SCHEMA dry_path CASCADE",
        ),
    ),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_as_for_real(case: Case, scratch: None) -> None:
    def made() -> list[Migration]:
        return [
            migration(*map(runs, case.scripts), atomic=case.atomic),
            migration(runs("SELECT 1"), name="0002_next"),
        ]

    results = rehearse(*made()).migrations
    error = for_real(*made())

    shown = "".join(each.error.message for each in results if each.error is not None)
    assert bool(shown) is bool(case.error), (shown, error)
    assert case.error in shown
    assert bool(error) is bool(case.error), (shown, error)
    assert case.error in error
    marked = [o.reason for m in results for o in m.operations if o.rehearsed == "not_rehearsed"]
    assert bool(marked) is case.marked, marked
