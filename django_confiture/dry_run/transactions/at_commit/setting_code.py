"""Code in the database that changes settings, and the names of settings that code reads."""

from __future__ import annotations

import re
from collections.abc import Iterable
from contextlib import suppress
from typing import TYPE_CHECKING

import psycopg

from django_confiture.dry_run.sql.settings_in_code import (
    SettingWrites,
    custom_settings,
    function_writes,
)
from django_confiture.postgres import FIRST_NORMAL_OID

if TYPE_CHECKING:
    from django_confiture.dry_run.server.side_channel import Session
    from django_confiture.dry_run.sql.parser import Statement

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

# By the functions' OIDs: set_config, and the two of current_setting. Only what matches is written
# out as SQL, since that takes a lock.
_IN_TREE = "':funcid (2077|2078|3294) '"

_EXPRESSIONS = f"""
    SELECT pg_get_expr(polqual, polrelid) || coalesce(pg_get_expr(polwithcheck, polrelid), '')
    FROM pg_catalog.pg_policy WHERE polqual::text ~ {_IN_TREE}
    UNION ALL SELECT pg_get_expr(polwithcheck, polrelid)
    FROM pg_catalog.pg_policy WHERE polwithcheck::text ~ {_IN_TREE}
    UNION ALL SELECT pg_get_viewdef(ev_class)
    FROM pg_catalog.pg_rewrite WHERE ev_class >= {FIRST_NORMAL_OID} AND ev_action::text ~ {_IN_TREE}
    UNION ALL SELECT pg_get_expr(adbin, adrelid)
    FROM pg_catalog.pg_attrdef WHERE adbin::text ~ {_IN_TREE}
    UNION ALL SELECT pg_get_expr(conbin, conrelid)
    FROM pg_catalog.pg_constraint WHERE conbin::text ~ {_IN_TREE} AND conrelid <> 0
    UNION ALL SELECT pg_get_triggerdef(oid)
    FROM pg_catalog.pg_trigger WHERE tgqual::text ~ {_IN_TREE}
"""

_WORDS = re.compile(r"\w+")


class SettingCode:
    """What functions of users set."""

    def __init__(self, session: Session) -> None:
        functions = session.query(_FUNCTIONS)
        writes = [
            (name or "", function_writes(code or "", language or ""))
            for name, language, code in functions
        ]
        self.writes = [each for _name, each in writes if each]
        self.custom = {
            name for _name, _language, code in functions for name in custom_settings(code or "")
        }
        """The names with a dot that they read or set."""
        self._unclear = _callers(
            {name for name, each in writes if _is_unclear(each)},
            {name or "": code or "" for name, _language, code in functions},
        )
        triggers = session.query(_TRIGGERS) if self._unclear else []
        self._unclear_tables = {table for table, name in triggers if name in self._unclear}

    def sets_unseen(self, statement: Statement) -> bool:
        """Return whether a statement runs a function that sets what its code does not tell."""
        if not self._unclear:
            return False
        if not self._unclear.isdisjoint(_WORDS.findall(statement.sql)):
            return True
        return any(each.relname in self._unclear_tables for each in statement.relations)


def read_by_the_schema(session: Session) -> set[str]:
    """Return the settings with a dot that policies, views, defaults and the like read."""
    with suppress(psycopg.Error), session.undone():  # with the locks that it takes
        rows = session.query(_EXPRESSIONS)
        return {name for (code,) in rows for name in custom_settings(code or "")}
    return set()


def _is_unclear(writes: SettingWrites) -> bool:
    return writes.unclear or bool(writes.local & writes.session)


def _callers(names: Iterable[str], sources: dict[str, str]) -> set[str]:
    """Return the functions with those names, and all that mention one of them."""
    found = set(names)
    words = {name: set(_WORDS.findall(code)) for name, code in sources.items()} if found else {}
    while more := {each for each, used in words.items() if used & found} - found:
        found |= more
    return found
