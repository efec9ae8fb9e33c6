"""Tables outside the search path with which the dry run begins: those of a tenant, for example."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from django.db import connection

from tests.support.dry_run import migration, plain_connection, rehearse, runs

TYPE = 'ALTER TABLE "t" ALTER "n" TYPE bigint'
DANGERS = {("type-change-rewrite", 1), ("index-build-blocks-writes", 2)}


@pytest.fixture
def tenant(scratch: None) -> Iterator[None]:
    """Have a table in a separate schema."""
    with plain_connection() as other:
        other.execute(
            "CREATE SCHEMA dry_tenant; CREATE TABLE dry_tenant.t (n integer);"
            " INSERT INTO dry_tenant.t SELECT generate_series(1, 5000); ANALYZE dry_tenant.t"
        )
        try:
            yield
        finally:
            connection.close()
            other.execute("DROP SCHEMA dry_tenant CASCADE")


def found(*sql: str) -> set[tuple[str, str | None, int | None]]:
    (result,) = rehearse(migration(*map(runs, sql))).migrations
    assert result.error is None
    return {(each.id, each.relation, each.operation) for each in result.findings}


def test_a_migration_has_its_own_search_path(tenant: None) -> None:
    path = "SET search_path = dry_tenant, public"

    findings = found(path, TYPE, "CREATE INDEX ON t (n)")

    assert findings >= {(rule, "dry_tenant.t", operation) for rule, operation in DANGERS}


def test_a_backend_sets_the_search_path_with_each_cursor(
    tenant: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    make = connection.create_cursor

    def create_cursor(name: str | None = None) -> Any:
        connection.connection.execute("SET search_path = dry_tenant, public")
        return make(name)

    monkeypatch.setattr(connection, "create_cursor", create_cursor)

    findings = found("SELECT 1", TYPE, "CREATE INDEX ON t (n)")

    assert findings >= {(rule, "t", operation) for rule, operation in DANGERS}
