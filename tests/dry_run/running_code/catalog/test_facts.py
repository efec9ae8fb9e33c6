"""What of a table can change the outcome of a statement is told from what can't."""

from __future__ import annotations

import pytest
from django.db import connection

from django_confiture.dry_run.running_code.catalog.facts import CatalogFacts, Changes
from django_confiture.dry_run.server.side_channel import Session

pytestmark = pytest.mark.django_db

_TABLES = """
CREATE TABLE cases_parent (id integer PRIMARY KEY, "Größe" numeric(8, 2), note text);
CREATE TABLE cases_child (id integer PRIMARY KEY, parent_id integer);
CREATE TABLE cases_parted (id serial, day date) PARTITION BY RANGE (day);
CREATE TABLE cases_part PARTITION OF cases_parted FOR VALUES FROM ('2026-01-01') TO ('2027-01-01');
CREATE VIEW cases_view AS SELECT id, note FROM cases_parent;
CREATE FUNCTION cases_code() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN new; END';
"""
_NAMES = ("cases_parent", "cases_child", "cases_parted", "cases_view", "cases_gone")
_NOTHING = Changes(frozenset(), frozenset())


@pytest.fixture
def facts() -> CatalogFacts:
    with connection.cursor() as cursor:
        cursor.execute(_TABLES)
    found = CatalogFacts(Session(connection.connection), connection.ops.quote_name)
    found.changes(_NAMES)
    return found


def changes(facts: CatalogFacts, sql: str) -> Changes:
    with connection.cursor() as cursor:
        cursor.execute(sql)
    return facts.changes(_NAMES)


@pytest.mark.parametrize(
    ("sql", "own"),
    [
        ("ALTER TABLE cases_child ADD x integer", ["cases_child"]),
        ("ALTER TABLE cases_child ALTER parent_id SET NOT NULL", ["cases_child"]),
        ("ALTER TABLE cases_child ALTER parent_id SET DEFAULT 1", ["cases_child"]),
        ("ALTER TABLE cases_child ALTER parent_id TYPE bigint", ["cases_child"]),
        ("ALTER TABLE cases_child RENAME parent_id TO other", ["cases_child"]),
        ("ALTER TABLE cases_child ADD CHECK (id > 0)", ["cases_child"]),
        ("ALTER TABLE cases_child ADD CHECK (id > 0) NOT VALID", ["cases_child"]),
        ("CREATE UNIQUE INDEX ON cases_child (parent_id)", ["cases_child"]),
        ("CREATE INDEX ON cases_child ((1 / parent_id))", ["cases_child"]),
        ("GRANT SELECT ON cases_child TO PUBLIC", ["cases_child"]),
        ("GRANT SELECT (id) ON cases_child TO PUBLIC", ["cases_child"]),
        ("ALTER TABLE cases_child ENABLE ROW LEVEL SECURITY", ["cases_child"]),
        ("ALTER TABLE cases_child REPLICA IDENTITY NOTHING", ["cases_child"]),
        ("ALTER TABLE cases_child REPLICA IDENTITY USING INDEX cases_child_pkey", ["cases_child"]),
        ("CREATE PUBLICATION cases_p FOR TABLE cases_child", ["cases_child"]),
        ("CREATE POLICY p ON cases_child USING (id > 1)", ["cases_child"]),
        (
            "CREATE TRIGGER t AFTER DELETE ON cases_child EXECUTE FUNCTION cases_code()",
            ["cases_child"],
        ),
        ("CREATE PUBLICATION p FOR TABLE cases_child", ["cases_child"]),
        ("CREATE RULE r AS ON DELETE TO cases_child DO INSTEAD NOTHING", ["cases_child"]),
        ("DROP TABLE cases_child", ["cases_child"]),
        ("ALTER TABLE cases_child RENAME TO cases_gone", ["cases_child", "cases_gone"]),
        ('ALTER TABLE cases_parent DROP "Größe"', ["cases_parent", "cases_view"]),
        ("CREATE OR REPLACE VIEW cases_view AS SELECT 1 AS id, 'x'::text AS note", ["cases_view"]),
        ("ALTER TABLE cases_part ADD CHECK (id < 5)", ["cases_parted"]),
        ("ALTER SEQUENCE cases_parted_id_seq MAXVALUE 3", ["cases_parted"]),
    ],
)
def test_what_a_statement_may_run_into_is_a_change(
    facts: CatalogFacts, sql: str, own: list[str]
) -> None:
    found = changes(facts, sql)
    assert sorted(found.own) == own
    assert changes(facts, "SELECT 1") == _NOTHING


def test_a_foreign_key_changes_its_own_table_and_deletions_of_the_other(
    facts: CatalogFacts,
) -> None:
    found = changes(
        facts, "ALTER TABLE cases_child ADD FOREIGN KEY (parent_id) REFERENCES cases_parent"
    )
    assert found.own == {"cases_child"}
    assert found.referring == {"cases_parent", "cases_view"}


@pytest.mark.parametrize(
    "sql",
    [
        "CREATE INDEX ON cases_child (parent_id)",
        "COMMENT ON TABLE cases_child IS 'x'",
        "ALTER TABLE cases_child ALTER parent_id SET STATISTICS 500",
        "INSERT INTO cases_child VALUES (1, 1)",
        "ANALYZE cases_child",
        "ALTER TABLE cases_parent ADD x integer UNIQUE; ALTER TABLE cases_parent DROP x",
        "CREATE TABLE cases_other (id integer)",
    ],
)
def test_what_no_statement_can_run_into_is_none(facts: CatalogFacts, sql: str) -> None:
    assert changes(facts, sql) == _NOTHING


@pytest.mark.parametrize(
    "sql",
    [
        "ALTER TABLE cases_child RENAME CONSTRAINT cases_child_pkey TO cases_other",
        "ALTER INDEX cases_child_pkey RENAME TO cases_other",
        (
            "ALTER TABLE cases_child DROP CONSTRAINT cases_child_pkey;"
            " ALTER TABLE cases_child ADD CONSTRAINT k PRIMARY KEY (id)"
        ),
    ],
)
def test_what_has_other_names_is_not_the_same(facts: CatalogFacts, sql: str) -> None:
    child, parent = (_oid(name) for name in ("cases_child", "cases_parent"))
    assert changes(facts, sql) == _NOTHING
    assert child not in facts.unchanged
    assert parent in facts.unchanged
    assert changes(facts, "SELECT 1") == _NOTHING
    assert {child, parent} <= facts.unchanged


def test_a_table_beside_those_asked_for_is_known_to_be_the_same(facts: CatalogFacts) -> None:
    part = _oid("cases_part")
    for _time in range(2):
        facts.changes(_NAMES, {part: "cases_part"})
    assert part in facts.unchanged
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE cases_part ADD CHECK (id < 5)")
    facts.changes(_NAMES, {part: "cases_part"})
    assert part not in facts.unchanged


def _oid(name: str) -> int:
    with connection.cursor() as cursor:
        cursor.execute("SELECT %s::regclass::oid", [name])
        return int(cursor.fetchone()[0])
