"""Indexes and constraints of tables that a statement's own rule does not name are found, too."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from django_confiture.dry_run.locks.catalog import Lookup
from django_confiture.dry_run.locks.rules import Lock, statement_locks
from django_confiture.dry_run.recording.lock_notes import LockNotes
from django_confiture.dry_run.sql.parsing.nodes import Node
from tests.support.dry_run import only_operation, plain_connection, runs

pytestmark = pytest.mark.usefixtures("untouched")

HELD = "LOCK TABLE dry_row IN ACCESS EXCLUSIVE MODE"
FOREIGN_KEY = """
    ALTER TABLE dry_child ADD CONSTRAINT dry_second FOREIGN KEY (parent_id) REFERENCES dry_parent
"""


@pytest.fixture
def indexed_by_event() -> Iterator[None]:
    """Let whatever alters ``dry_parent`` build an index of ``dry_row``."""
    with plain_connection() as plain:
        plain.execute(
            """
            CREATE FUNCTION dry_indexes() RETURNS event_trigger LANGUAGE plpgsql AS $$
            BEGIN
              IF EXISTS (SELECT FROM pg_event_trigger_ddl_commands() e
                WHERE e.objid = 'dry_parent'::regclass)
              THEN CREATE INDEX dry_by_event ON dry_row (number); END IF;
            END $$;
            CREATE EVENT TRIGGER dry_indexes ON ddl_command_end
              WHEN TAG IN ('ALTER TABLE') EXECUTE FUNCTION dry_indexes();
            """
        )
        try:
            yield
        finally:
            plain.execute("DROP EVENT TRIGGER dry_indexes")
            plain.execute("DROP FUNCTION dry_indexes")


def test_an_index_that_an_event_trigger_builds_on_a_table_that_is_held(
    indexed_by_event: None,
) -> None:
    _lock, altered = only_operation(
        runs(f"{HELD}; ALTER TABLE dry_parent ADD added integer")
    ).statements

    assert altered.indexes_built == ("dry_by_event",)


def test_a_constraint_on_a_table_that_no_rule_says_is_locked(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def knowing_only_the_parent(node: Node, lookup: Lookup) -> list[Lock]:
        parent = lookup.relation("dry_parent")
        assert parent is not None
        return [each for each in statement_locks(node, lookup) if each.oid == parent.oid]

    monkeypatch.setattr(f"{LockNotes.__module__}.statement_locks", knowing_only_the_parent)

    (added,) = only_operation(runs(FOREIGN_KEY)).statements

    assert {lock.relation for lock in added.locks} >= {"dry_parent", "dry_child"}
    assert added.constraints == ("dry_second",)
