"""The snapshot before a dry run says what PostgreSQL itself says of each relation."""

from __future__ import annotations

import pytest
from django.db import connection

from django_confiture.dry_run.measuring.relations import Catalog
from django_confiture.dry_run.server.side_channel import Session

RELATIONS = """
    CREATE TABLE shared (id bigserial PRIMARY KEY, tags text[]);
    CREATE INDEX shared_tags ON shared USING gin (tags);
    CREATE TABLE filled (id bigserial PRIMARY KEY, name text);
    CREATE INDEX filled_name ON filled (name);
    INSERT INTO filled (name) SELECT repeat('x', 40) || n FROM generate_series(1, 2000) n;
    CREATE MATERIALIZED VIEW counted AS SELECT count(*) FROM filled;
    CREATE VIEW seen AS SELECT * FROM filled;
    CREATE TABLE hidden (id integer);
    CREATE SCHEMA tenant;
    CREATE TABLE tenant.shared (id bigserial PRIMARY KEY);
    CREATE SCHEMA apart;
    CREATE TABLE apart.filled (id integer);
    CREATE TABLE apart.pg_class (id integer);
    CREATE TEMPORARY TABLE hidden (id integer);
"""


@pytest.mark.django_db
@pytest.mark.parametrize("path", ["tenant, public", "public", "apart, pg_catalog, tenant", ""])
def test_names_and_sizes_are_the_servers(path: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(RELATIONS)
        cursor.execute("SELECT set_config('search_path', %s, true)", [path])
        found = Catalog(Session(connection.connection)).relations
        cursor.execute(
            "SELECT oid, pg_table_is_visible(oid), coalesce(pg_relation_size(oid), 0)"
            " FROM pg_catalog.pg_class WHERE oid = ANY (%s)",
            [list(found)],
        )
        expected = {oid: (visible, size) for oid, visible, size in cursor.fetchall()}
    assert {oid: (each.visible, each.size) for oid, each in found.items()} == expected
    assert {(each.schema, each.name) for each in found.values()} >= {
        ("tenant", "shared"),
        ("public", "shared_tags"),
        ("public", "filled_name"),
        ("public", "seen"),
        ("apart", "pg_class"),
        ("public", "hidden"),
    }
