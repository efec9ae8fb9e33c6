"""The functions that users wrote, read once, and again after what may have made some."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from psycopg.pq import TransactionStatus

from django_confiture.dry_run.server.side_channel import array
from django_confiture.dry_run.transactions.at_commit.node_trees import (
    CURRENT_SETTING,
    calls,
    calls_one,
)
from django_confiture.postgres import FIRST_NORMAL_OID
from django_confiture.sql_text import names_in

if TYPE_CHECKING:
    from django_confiture.dry_run.server.side_channel import Session
    from django_confiture.dry_run.sql.parsing.parser import Statement

_FUNCTIONS = f"""
    SELECT p.proname, l.lanname, CASE l.lanname WHEN 'plpgsql' THEN pg_get_functiondef(p.oid)
      ELSE p.prosrc || coalesce(pg_get_function_sqlbody(p.oid), '') END
    FROM pg_catalog.pg_proc p JOIN pg_catalog.pg_language l ON l.oid = p.prolang
    WHERE p.oid >= {FIRST_NORMAL_OID} AND l.lanname NOT IN ('c', 'internal')
"""

_TRIGGERS = """
    SELECT c.relname, p.proname FROM pg_catalog.pg_trigger t
    JOIN pg_catalog.pg_proc p ON p.oid = t.tgfoid JOIN pg_catalog.pg_class c ON c.oid = t.tgrelid
    WHERE NOT t.tgisinternal
"""

_EVENT_TRIGGERS = """
    SELECT p.proname FROM pg_catalog.pg_event_trigger t
    JOIN pg_catalog.pg_proc p ON p.oid = t.evtfoid WHERE t.evtenabled <> 'D'
"""

_EXPRESSIONS = f"""
    SELECT c.relname, x.tree, f.called FROM (
      SELECT polrelid AS relation, concat(polqual::text, polwithcheck::text) AS tree
        FROM pg_catalog.pg_policy
      UNION ALL SELECT conrelid, conbin::text FROM pg_catalog.pg_constraint WHERE contype = 'c'
      UNION ALL SELECT adrelid, adbin::text FROM pg_catalog.pg_attrdef
      UNION ALL SELECT ev_class, concat(ev_qual::text, ev_action::text) FROM pg_catalog.pg_rewrite
        WHERE ev_class >= {FIRST_NORMAL_OID}
    ) x JOIN pg_catalog.pg_class c ON c.oid = x.relation,
    LATERAL (SELECT json_agg(p.proname) AS called FROM pg_catalog.pg_proc p
      WHERE p.proname = ANY($1::text[])
      AND {calls_one("x.tree", "p.oid")}) f
    WHERE c.oid >= {FIRST_NORMAL_OID}
      AND (f.called IS NOT NULL OR {calls("x.tree", CURRENT_SETTING)})
"""

_IN_RULES = """
    SELECT DISTINCT owner.relname, used.relname FROM pg_catalog.pg_depend d
    JOIN pg_catalog.pg_rewrite r ON r.oid = d.objid
    JOIN pg_catalog.pg_class owner ON owner.oid = r.ev_class
    JOIN pg_catalog.pg_class used ON used.oid = d.refobjid AND used.oid <> owner.oid
    WHERE d.classid = 'pg_catalog.pg_rewrite'::regclass
      AND d.refclassid = 'pg_catalog.pg_class'::regclass
"""

_MAKING_CODE = {"create_function_stmt", "create_extension_stmt", "do_stmt", "call_stmt", ""}


@dataclass(frozen=True)
class Function:
    """A function, procedure or trigger function."""

    name: str
    language: str
    code: str
    """Its body; of PL/pgSQL, the whole CREATE FUNCTION."""


class DatabaseCode:
    """Gives what the catalogs know of code, for as long as no statement may have made more."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._functions: Sequence[Function] | None = None

    @property
    def can_ask(self) -> bool:
        """Whether the server can be asked now."""
        usable = self._session.status == TransactionStatus.INTRANS
        return usable and not self._session.in_pipeline

    @property
    def functions(self) -> Sequence[Function]:
        """The functions; the same object until they are read again."""
        if self._functions is None:
            rows = self._session.query(_FUNCTIONS)
            self._functions = [Function(*(each or "" for each in row)) for row in rows]
        return self._functions

    def triggers_of(self, functions: Iterable[str]) -> set[str]:
        """Return the tables with a trigger that runs one of those functions."""
        names = set(functions)
        rows = self._session.query(_TRIGGERS) if names else []
        return {table or "" for table, name in rows if name in names}

    def is_run_by_events(self, functions: Iterable[str]) -> bool:
        """Return whether an event trigger runs one of those functions, as DDL makes it."""
        names = set(functions)
        rows = self._session.query(_EVENT_TRIGGERS) if names else []
        return any(name in names for (name,) in rows)

    def expressions(self, functions: Iterable[str]) -> Sequence[tuple[str, str, Sequence[str]]]:
        """Return policies, checks, defaults and rules that read settings or call the functions.

        Each with its table, its tree, and those functions. Where it has none, its tree tells.
        """
        rows = self._session.query(_EXPRESSIONS, [array(sorted(functions))])
        return [
            (table or "", tree or "", json.loads(called or "[]")) for table, tree, called in rows
        ]

    def relations_in_rules(self) -> Sequence[tuple[str, str]]:
        """Return views and tables with rules, each with a relation that its rule names."""
        rows = self._session.query(_IN_RULES)
        return [(owner or "", used or "") for owner, used in rows]

    def tables_named_by_triggers(self, functions: Iterable[str]) -> dict[str, set[str]]:
        """Return the tables with a trigger that runs one of those functions → what it names.

        That is the table itself, and the words of the function's code, tables or not.
        """
        names = set(functions)
        words = {each.name: names_in(each.code) for each in self.functions}
        found: dict[str, set[str]] = {}
        for table, name in self._session.query(_TRIGGERS) if names else []:
            if table and name in names:
                found.setdefault(table, {table}).update(words.get(name, ()))
        return found

    def about_to_run(self, statement: Statement) -> None:
        """Forget the functions where a statement may make more."""
        if statement.what in _MAKING_CODE:
            self._functions = None


def callers(names: Iterable[str], functions: Sequence[Function]) -> set[str]:
    """Return the functions with those names, and all that mention one of them."""
    found = set(names)
    words = {each.name: names_in(each.code) for each in functions} if found else {}
    while more := {each for each, used in words.items() if used & found} - found:
        found |= more
    return found


def runs_any(statement: Statement, functions: set[str], tables: set[str]) -> bool:
    """Return whether a statement mentions one of the functions, or one of the tables."""
    if functions and not functions.isdisjoint(names_in(statement.sql)):
        return True
    return bool(tables) and any(each.relname in tables for each in statement.relations)
