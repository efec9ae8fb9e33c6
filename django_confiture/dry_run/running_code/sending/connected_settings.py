"""The settings with which code connects: those of the session when the dry run began.

What a migration sets for its own session (``search_path``, a role, ``session_replication_role``),
and its temporary tables, no other session has, so neither release is tried with them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from django_confiture.dry_run.sql.parsing.parser import Kind

if TYPE_CHECKING:
    from django_confiture.dry_run.server.side_channel import Session
    from django_confiture.dry_run.sql.parsing.parser import Statement

# The user first: others may not set the rest.
_NAMES = (
    "session_authorization",
    "role",
    "search_path",
    "session_replication_role",
    "row_security",
    "TimeZone",
    "DateStyle",
    "IntervalStyle",
    "transform_null_equals",
)
"""Settings that decide what a statement means, or what it may do."""

_READ = f"""
SELECT pg_catalog.json_object_agg(name, pg_catalog.current_setting(name) ORDER BY at)
FROM pg_catalog.unnest('{{{",".join(_NAMES)}}}'::text[]) WITH ORDINALITY given(name, at)
"""
_RESTORE = """
SELECT pg_catalog.set_config(key, value, true) FROM pg_catalog.json_each_text($1::json)
WHERE pg_catalog.current_setting(key) <> value
"""
# Else they come first: a temporary table hides the real one of its name, from this session alone.
_TEMPORARY_LAST = r"""
SELECT pg_catalog.set_config('search_path',
  concat_ws(', ', nullif(pg_catalog.current_setting('search_path'), ''), 'pg_temp'), true)
WHERE pg_catalog.pg_my_temp_schema() <> 0
  AND pg_catalog.current_setting('search_path') !~ '\mpg_temp\M'
"""


_SETS = re.compile(r"set_config|\btemp(?:orary)?\b|\bpg_temp\b", re.IGNORECASE)
_HIDING = (Kind.OPAQUE, Kind.UNPARSED, Kind.UNSEEN)


class ConnectedSettings:
    """Remembers the settings of a session, and gives it those again for a while."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._known = session.value(_READ)

    @contextmanager
    def restored(self) -> Iterator[None]:
        """Have them inside; what is done there is undone."""
        with self._session.undone("confiture_connected"):
            self._session.query(_RESTORE, [self._known])
            self._session.query(_TEMPORARY_LAST)
            yield


def may_set(statement: Statement) -> bool:
    """Return whether a statement may change a setting of its session, or what names mean there."""
    if statement.what == "variable_set_stmt" or _SETS.search(statement.sql):
        return True
    return statement.kind in _HIDING
