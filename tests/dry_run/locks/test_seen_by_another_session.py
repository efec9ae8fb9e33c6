"""The locks in the report are those that another session finds while the real run holds them."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import connection

from django_confiture.dry_run.locks.modes import LockMode
from tests.cases.migrations_on_disk import query
from tests.support.dry_run import for_real, migration, python, rehearse, runs

TABLES = """
    CREATE TABLE dry_parts (id int, k int) PARTITION BY RANGE (k);
    CREATE TABLE dry_parts_a PARTITION OF dry_parts FOR VALUES FROM (0) TO (100);
    CREATE TABLE dry_parts_b PARTITION OF dry_parts FOR VALUES FROM (100) TO (200);
    INSERT INTO dry_parts SELECT i, i FROM generate_series(0, 199) i;
    CREATE TABLE dry_whole (id int, n int);
    CREATE TABLE dry_heir (extra int) INHERITS (dry_whole);
    CREATE TABLE dry_log (id serial PRIMARY KEY, what text);
    CREATE TABLE dry_traced (id int PRIMARY KEY, n int);
    INSERT INTO dry_traced SELECT i, i FROM generate_series(1, 100) i;
    CREATE FUNCTION dry_trace() RETURNS trigger LANGUAGE plpgsql AS
      $$ BEGIN INSERT INTO dry_log (what) VALUES (TG_OP); RETURN new; END $$;
    CREATE TRIGGER dry_trace AFTER UPDATE ON dry_traced
      FOR EACH ROW EXECUTE FUNCTION dry_trace();
    CREATE VIEW dry_view AS SELECT id, code FROM dry_row;
"""

HAZARDS = {
    "add a column": "ALTER TABLE dry_row ADD extra int DEFAULT 5",
    "rewrite": "ALTER TABLE dry_row ALTER number TYPE bigint",
    "not null": "UPDATE dry_row SET number = 0; ALTER TABLE dry_row ALTER number SET NOT NULL",
    "a check": "ALTER TABLE dry_row ADD CONSTRAINT dry_c CHECK (number > 0)",
    "a check, validated later": (
        "ALTER TABLE dry_row ADD CONSTRAINT dry_c CHECK (number > 0) NOT VALID;"
        "ALTER TABLE dry_row VALIDATE CONSTRAINT dry_c"
    ),
    "a foreign key": (
        "ALTER TABLE dry_row ADD parent int; ALTER TABLE dry_row ADD CONSTRAINT dry_f"
        " FOREIGN KEY (parent) REFERENCES dry_parent"
    ),
    "a foreign key of a new table": "CREATE TABLE dry_new (id int REFERENCES dry_parent)",
    "drop a foreign key": "ALTER TABLE dry_child DROP CONSTRAINT dry_child_parent_id_fkey",
    "drop a table with one": "DROP TABLE dry_child",
    "an index": "CREATE INDEX dry_i ON dry_row (name)",
    "a unique constraint": "ALTER TABLE dry_row ADD CONSTRAINT dry_u UNIQUE (name)",
    "an index of partitions": "CREATE INDEX dry_i ON dry_parts (id)",
    "a column of partitions": "ALTER TABLE dry_parts ADD extra int",
    "attach": (
        "CREATE TABLE dry_new (id int, k int);"
        "ALTER TABLE dry_parts ATTACH PARTITION dry_new FOR VALUES FROM (200) TO (300)"
    ),
    "detach": "ALTER TABLE dry_parts DETACH PARTITION dry_parts_a",
    "move rows between partitions": "UPDATE dry_parts SET k = k + 100 WHERE k < 100",
    "truncate a partition": "TRUNCATE dry_parts_a",
    "truncate with cascade": "TRUNCATE dry_parent CASCADE",
    "a column of heirs": "ALTER TABLE dry_whole ADD extra2 int DEFAULT 1",
    "a trigger that writes": "UPDATE dry_traced SET n = n + 1",
    "create a trigger": (
        "CREATE TRIGGER dry_more BEFORE INSERT ON dry_row FOR EACH ROW EXECUTE FUNCTION dry_trace()"
    ),
    "delete with cascade": "DELETE FROM dry_parent WHERE id < 4",
    "lock a view": "LOCK TABLE dry_view IN SHARE MODE",
    "rename": "ALTER TABLE dry_row RENAME number TO numero",
    "reindex": "REINDEX TABLE dry_row",
    "cluster": "CLUSTER dry_row USING dry_row_pkey",
    "code that computes SQL": (
        "DO $$ BEGIN EXECUTE 'ALTER TABLE dry_' || 'row ALTER number TYPE bigint'; END $$"
    ),
    "lock rows": "SELECT FROM dry_row WHERE id < 9 FOR UPDATE",
}

HELD = """
    SELECT relname, array_agg(mode) FROM pg_locks JOIN pg_class c ON c.oid = relation
    WHERE pid = %s AND granted AND relkind IN ('r', 'p', 'v') AND relname ~ '^dry_' GROUP BY 1
"""


@pytest.mark.parametrize("script", HAZARDS.values(), ids=HAZARDS.keys())
def test_the_strongest_lock_of_each_table(scratch: Any, scratch_tables: Any, script: str) -> None:
    observer = scratch_tables.observers["default"]
    observer.execute(TABLES)
    held: dict[str, str] = {}

    def look() -> None:
        (pid,) = query("SELECT pg_backend_pid()")[0]
        rows = observer.execute(HELD, [pid]).fetchall()
        held.update((table, max(LockMode[mode] for mode in modes).name) for table, modes in rows)

    (result,) = rehearse(migration(runs(script))).migrations
    assert for_real(migration(runs(script), python(look))) == ""
    connection.close()

    assert result.error is None
    assert {each.relation: each.strongest_lock for each in result.tables} == held
