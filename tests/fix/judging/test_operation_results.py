"""Which statements of a rehearsed operation are read, and as what."""

from __future__ import annotations

import pytest

from django_confiture.dry_run.results import OperationResult, StatementResult
from django_confiture.fix.judging.operation_results import statements_of

CATALOG = (
    "SELECT c.conname FROM pg_constraint AS c JOIN pg_class AS cl ON c.conrelid = cl.oid"
    " WHERE cl.relname = %s AND pg_catalog.pg_table_is_visible(cl.oid)"
)


@pytest.mark.parametrize(
    ("sql", "kinds"),
    [
        ("UPDATE t SET a = %s WHERE b = %s", ["update_stmt"]),
        ("UPDATE t SET a = '5 %' WHERE b = 7 % 2", ["update_stmt"]),
        ("SELECT a FROM t WHERE b = %s LIMIT 1", ["select_stmt"]),
        ("ALTER TABLE t ADD a int; ALTER TABLE t ADD b int", ["alter_table_stmt"] * 2),
        (CATALOG, []),
        ("UPDATE t SET", [""]),
    ],
)
def test_statements_with_and_without_placeholders(sql: str, kinds: list[str]) -> None:
    statement = StatementResult(
        sql=sql, executions=1, duration_ms=0, rows_affected=None, wal_bytes=None
    )
    operation = OperationResult(0, "RunPython", "", "exact", "", 0, (statement,))
    assert [each.what for each in statements_of(operation)] == kinds
