"""Tables whose rows are in partitions, of which each can be changed alone."""

from __future__ import annotations

from django.db.migrations import RunSQL

from tests.support.release_cases.library import case

IN_PARTS = """
    CREATE TABLE cases_part
      (LIKE cases_book INCLUDING DEFAULTS INCLUDING IDENTITY, PRIMARY KEY (id))
      PARTITION BY RANGE (id);
    CREATE TABLE cases_low PARTITION OF cases_part FOR VALUES FROM (0) TO (1000);
    CREATE TABLE cases_rest PARTITION OF cases_part DEFAULT;
    INSERT INTO cases_part OVERRIDING SYSTEM VALUE SELECT * FROM cases_book;
    SELECT setval(pg_get_serial_sequence('cases_part', 'id'), 100);
    DROP TABLE cases_book CASCADE;
    ALTER TABLE cases_part RENAME TO cases_book;
"""
_NO_PARTS = "DROP TABLE IF EXISTS cases_book CASCADE; DROP FUNCTION IF EXISTS dry_keeps() CASCADE"

KEEPS = RunSQL(
    "CREATE FUNCTION dry_keeps() RETURNS trigger LANGUAGE plpgsql AS"
    " $$ BEGIN RAISE EXCEPTION 'closed' USING ERRCODE = 'check_violation'; END $$;"
    "CREATE TRIGGER dry_keeps BEFORE DELETE ON cases_low"
    " FOR EACH ROW EXECUTE FUNCTION dry_keeps()"
)

CASES = [
    case(
        "another_table_refers_to_one_partition",
        RunSQL(
            "CREATE TABLE cases_about (book bigint REFERENCES cases_low (id));"
            "INSERT INTO cases_about SELECT id FROM cases_book"
        ),
        setup=IN_PARTS,
        cleanup=f"DROP TABLE IF EXISTS cases_about; {_NO_PARTS}",
    ),
    case(
        "one_partition_keeps_its_rows",
        KEEPS,
        setup=IN_PARTS,
        cleanup=_NO_PARTS,
    ),
]
