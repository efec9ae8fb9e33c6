"""Code in the database that changes settings, and the names of settings that code reads."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

import psycopg

from django_confiture.dry_run.sql.transactions.settings_in_code import (
    SettingWrites,
    custom_settings,
    function_writes,
)
from django_confiture.dry_run.transactions.at_commit.database_code import (
    DatabaseCode,
    callers,
    runs_any,
)
from django_confiture.dry_run.transactions.at_commit.node_trees import (
    CURRENT_SETTING,
    SET_CONFIG,
    calls,
)
from django_confiture.postgres import FIRST_NORMAL_OID

if TYPE_CHECKING:
    from django_confiture.dry_run.server.side_channel import Session
    from django_confiture.dry_run.sql.parsing.parser import Statement

_SETTINGS = (*CURRENT_SETTING, *SET_CONFIG)

# Only what calls them is written out as SQL, since that takes a lock.
_EXPRESSIONS = f"""
    SELECT pg_get_expr(polqual, polrelid) || coalesce(pg_get_expr(polwithcheck, polrelid), '')
    FROM pg_catalog.pg_policy WHERE {calls("polqual::text", _SETTINGS)}
    UNION ALL SELECT pg_get_expr(polwithcheck, polrelid)
    FROM pg_catalog.pg_policy WHERE {calls("polwithcheck::text", _SETTINGS)}
    UNION ALL SELECT pg_get_viewdef(ev_class)
    FROM pg_catalog.pg_rewrite
    WHERE ev_class >= {FIRST_NORMAL_OID} AND {calls("ev_action::text", _SETTINGS)}
    UNION ALL SELECT pg_get_expr(adbin, adrelid)
    FROM pg_catalog.pg_attrdef WHERE {calls("adbin::text", _SETTINGS)}
    UNION ALL SELECT pg_get_expr(conbin, conrelid)
    FROM pg_catalog.pg_constraint WHERE {calls("conbin::text", _SETTINGS)} AND conrelid <> 0
    UNION ALL SELECT pg_get_triggerdef(oid)
    FROM pg_catalog.pg_trigger WHERE {calls("tgqual::text", _SETTINGS)}
"""


class SettingCode:
    """What functions of users set."""

    def __init__(self, code: DatabaseCode) -> None:
        self.functions = code.functions
        """What it was made of."""
        writes = [(each.name, function_writes(each.code, each.language)) for each in self.functions]
        self.writes = [each for _name, each in writes if each]
        self.custom = {name for each in self.functions for name in custom_settings(each.code)}
        """The names with a dot that they read or set."""
        unclear = {name for name, each in writes if _is_unclear(each)}
        self._unclear = callers(unclear, self.functions)
        self._unclear_tables = code.triggers_of(self._unclear)

    def sets_unseen(self, statement: Statement) -> bool:
        """Return whether a statement runs a function that sets what its code does not tell."""
        return runs_any(statement, self._unclear, self._unclear_tables)


def read_by_the_schema(session: Session) -> set[str]:
    """Return the settings with a dot that policies, views, defaults and the like read."""
    with suppress(psycopg.Error), session.undone():  # with the locks that it takes
        rows = session.query(_EXPRESSIONS)
        return {name for (code,) in rows for name in custom_settings(code or "")}
    return set()


def _is_unclear(writes: SettingWrites) -> bool:
    return writes.unclear or bool(writes.local & writes.session)
