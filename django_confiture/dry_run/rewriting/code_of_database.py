"""Reads what code of its own a database runs in an UPDATE: triggers and functions."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from django_confiture.dry_run.rewriting.rows_by_name import (
    AMONG,
    OF_CLASS,
    SHOWN,
    WHERE,
    rows_by_name,
)
from django_confiture.dry_run.rewriting.trigger_code import may_run_twice
from django_confiture.dry_run.server.side_channel import Session
from django_confiture.dry_run.sql.parsing.nodes import Node, strings
from django_confiture.dry_run.sql.parsing.parser import Statement

_TRIGGERS = (
    f"SELECT {SHOWN} t.tgname, l.lanname, p.prosrc"
    f" FROM pg_catalog.pg_trigger t JOIN pg_catalog.pg_class c ON c.oid = t.tgrelid {OF_CLASS}"
    " JOIN pg_catalog.pg_proc p ON p.oid = t.tgfoid"
    " JOIN pg_catalog.pg_language l ON l.oid = p.prolang"
    f" WHERE {WHERE} NOT t.tgisinternal AND t.tgenabled <> 'D' AND t.tgtype & 16 <> 0"
    f" AND {AMONG.format(table='c.oid')}"
)
"""Those that fire for an UPDATE."""
_FUNCTIONS = (
    "SELECT DISTINCT p.proname FROM pg_catalog.pg_proc p"
    " JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace"
    f" WHERE {WHERE} p.provolatile <> 'i' AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend d"
    "   WHERE d.classid = 'pg_catalog.pg_proc'::pg_catalog.regclass AND d.objid = p.oid"
    "   AND d.deptype = 'e')"
)
"""Neither PostgreSQL's own nor an extension's, and by their own account not IMMUTABLE."""


def read_counting(session: Session, among: Sequence[str | None] = (None,)) -> dict[str, str]:
    """Return table → a trigger of it that does more each time a row is updated."""
    return {
        table: name
        for table, (name, language, source) in rows_by_name(session, _TRIGGERS, among)
        if not may_run_twice(language, source)
    }


def read_own_functions(session: Session) -> frozenset[str]:
    """Return the functions whose result may depend on more than what they are given."""
    return frozenset(str(name) for (name,) in session.query(_FUNCTIONS))


def functions_made_by(statements: Iterable[Statement]) -> frozenset[str]:
    """Return such functions that statements create."""
    made = (e.node.create_function_stmt for e in statements if e.what == "create_function_stmt")
    return frozenset(strings(each.funcname)[-1] for each in made if not _is_immutable(each))


def _is_immutable(function: Node) -> bool:
    return any(
        each.def_elem.defname == "volatility" and each.def_elem.arg.string.sval == "immutable"
        for each in function.options
    )
