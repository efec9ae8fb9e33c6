"""What a test of the app "cases" makes is gone after it, whatever its name and kind are."""

from __future__ import annotations

from pathlib import Path

import pytest
from django.db import connection
from pytest_django import Settings

from tests.cases.migrations_on_disk import make_cases, query
from tests.support.shipped_hooks import execute

MADE = {
    "a schema and what is in it": "CREATE SCHEMA left_over CREATE TABLE t (id int)",
    "a table with a sequence and an identity": (
        "CREATE TABLE left_over (a serial, b int GENERATED ALWAYS AS IDENTITY)"
    ),
    "a partitioned table": (
        "CREATE TABLE left_over (id int) PARTITION BY LIST (id);"
        " CREATE TABLE part_of_it PARTITION OF left_over DEFAULT"
    ),
    "a view": "CREATE VIEW left_over AS SELECT 1 AS one",
    "a materialized view": 'CREATE MATERIALIZED VIEW "Left over" AS SELECT 1 AS one',
    "a sequence": "CREATE SEQUENCE left_over",
    "a domain that a column has": (
        "CREATE DOMAIN left_over AS int CHECK (VALUE > 0); CREATE TABLE of_it (id left_over)"
    ),
    "an enum": "CREATE TYPE left_over AS ENUM ('a', 'b')",
    "a range": "CREATE TYPE left_over AS RANGE (subtype = float8)",
    "a composite type": "CREATE TYPE left_over AS (a int)",
    "a function of a type": (
        "CREATE TYPE left_over AS (a int);"
        " CREATE FUNCTION of_it(left_over) RETURNS int LANGUAGE sql AS 'SELECT 1'"
    ),
    "a collation": 'CREATE COLLATION left_over FROM "C"',
    "a configuration of text search": (
        "CREATE TEXT SEARCH CONFIGURATION left_over (COPY = pg_catalog.simple)"
    ),
    "an event trigger": (
        "CREATE FUNCTION left_over() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN END';"
        " CREATE EVENT TRIGGER left_over ON ddl_command_start EXECUTE FUNCTION left_over()"
    ),
    "a foreign server": (
        "CREATE FOREIGN DATA WRAPPER left_over; CREATE SERVER s FOREIGN DATA WRAPPER left_over;"
        " CREATE FOREIGN TABLE far (id int) SERVER s"
    ),
    "a publication": "CREATE TABLE left_over (id int); CREATE PUBLICATION p FOR TABLE left_over",
}


NAMES = {
    "pg_class": "relname",
    "pg_type": "typname",
    "pg_proc": "proname",
    "pg_namespace": "nspname",
    "pg_collation": "collname",
    "pg_ts_config": "cfgname",
    "pg_event_trigger": "evtname",
    "pg_foreign_server": "srvname",
    "pg_foreign_data_wrapper": "fdwname",
    "pg_publication": "pubname",
}


def _objects() -> set[tuple[str, str]]:
    named = [f"SELECT '{catalog}', {name}::text FROM {catalog}" for catalog, name in NAMES.items()]
    return {(catalog, name) for catalog, name in query(" UNION ALL ".join(named))}


@pytest.mark.parametrize("kind", MADE)
def test_what_a_test_makes_is_dropped(
    kind: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    settings: Settings,
    transactional_db: None,
) -> None:
    before = _objects()
    with make_cases(tmp_path, monkeypatch, settings):
        execute(MADE[kind])
        assert _objects() > before
    assert _objects() == before
    assert "shop_customer" in connection.introspection.table_names()
