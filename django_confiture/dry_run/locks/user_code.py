"""Which statements run code of users, and so can lock and write more than their text says."""

from __future__ import annotations

import json
import re
from collections.abc import Collection
from dataclasses import replace

from psycopg.pq import TransactionStatus

from django_confiture.dry_run.locks.catalog import Lookup
from django_confiture.dry_run.server.side_channel import Session
from django_confiture.dry_run.sql.parsing.nodes import (
    Node,
    functions_called_in,
    node_field,
    tags_in,
)
from django_confiture.dry_run.sql.parsing.parser import Kind, Statement
from django_confiture.postgres import FIRST_NORMAL_OID

_CODE = frozenset(
    {
        "do_stmt",
        "call_stmt",
        "execute_stmt",
        "alter_extension_stmt",
        "import_foreign_schema_stmt",
        "alter_table_move_all_stmt",
    }
)
"""Code that the statement holds, calls or loads. ALTER TABLE ALL IN TABLESPACE names no table."""

_STORING = frozenset(
    {
        "create_function_stmt",
        "create_policy_stmt",
        "alter_policy_stmt",
        "create_trig_stmt",
        "prepare_stmt",
        "rule_stmt",
        "view_stmt",
    }
)
"""Statements that store an expression and do not run it."""

_RUNNING_TEXT = frozenset(
    {
        "query_to_xml",
        "query_to_xmlschema",
        "query_to_xml_and_xmlschema",
        "ts_rewrite",
        "ts_stat",
    }
)
"""Functions of PostgreSQL's own that run a query which is given to them as text."""


_KEEPING = {Kind.SELECT, Kind.DML, Kind.QUIET}
"""Statements that make no functions."""

_SOURCES = f"""
SELECT prosrc FROM pg_catalog.pg_proc
WHERE oid >= {FIRST_NORMAL_OID} AND proname IN (SELECT json_array_elements_text($1::json))
"""

_USABLE = (TransactionStatus.INTRANS, TransactionStatus.IDLE)


def runs_user_code(node: Node, lookup: Lookup) -> bool:
    """Return whether the statement runs code that its text does not show.

    That is DO, CALL, EXECUTE, and an expression with a function that is written in SQL or a
    procedural language, or that runs a query given to it as text. Such code in a trigger, an
    operator, a view, or a default that is there already is not looked for.
    """
    kind = node_field(node)
    if kind in _CODE:
        return True
    if not kind or kind in _STORING:
        return False
    if "ExecuteStmt" in tags_in(node):  # EXPLAIN ANALYZE EXECUTE, CREATE TABLE AS EXECUTE
        return True
    functions = functions_called_in(node)
    return not functions.isdisjoint(_RUNNING_TEXT) or lookup.has_user_function(functions)


def may_touch(statement: Statement, tables: Collection[str], session: Session) -> bool:
    """Return whether the code that a statement runs names one of the tables, or computes SQL."""
    code = [statement.sql]
    if statement.what != "do_stmt" and statement.node is not None:
        called = json.dumps(sorted(functions_called_in(statement.node)))
        code += [source or "" for (source,) in session.query(_SOURCES, [called])]
    text = "\n".join(code)
    names = "|".join(map(re.escape, tables))
    return re.search(rf"\b(?:EXECUTE|{names})\b", text, re.IGNORECASE) is not None


class SelectClassifier:
    """Tells a SELECT that calls functions of PostgreSQL's own from one that runs code of users.

    By its text, ``SELECT count(*)`` is as opaque as ``SELECT f()``. The catalog is asked once for
    each text, and again after any statement that may have made a function.
    """

    def __init__(self, session: Session) -> None:
        self._session = session
        self._lookup = Lookup(session.query)
        self._reading: set[str] = set()
        self._opaque: set[str] = set()

    def classified(self, statement: Statement) -> Statement:
        """Return the statement with the kind that it has by the catalog."""
        is_select = statement.kind is Kind.OPAQUE and statement.what == "select_stmt"
        if is_select and self._only_reads(statement):
            return replace(statement, kind=Kind.SELECT)
        if statement.kind not in _KEEPING:
            self._reading.clear()
        return statement

    def _only_reads(self, statement: Statement) -> bool:
        if statement.sql in self._reading or statement.sql in self._opaque:
            return statement.sql in self._reading
        if self._session.in_pipeline or self._session.status not in _USABLE:
            return False
        opaque = runs_user_code(statement.node, self._lookup)
        (self._opaque if opaque else self._reading).add(statement.sql)
        return not opaque
