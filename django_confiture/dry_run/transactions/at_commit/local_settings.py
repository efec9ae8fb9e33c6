"""Settings at a rehearsed COMMIT: those that are local to the transaction end, the others stay.

At the end of a savepoint PostgreSQL keeps both. So the values before the transaction are compared
with those at its end. What statements set for the session, in plain sight, is noted in a setting
of ours, so that it is rolled back by whatever rolls those back; all else is local, unless the code
that can have set it says otherwise. ``pg_settings`` has the settings of PostgreSQL and of its
extensions; custom ones are in no catalog and are known by the names that code reads and sets.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from django_confiture.dry_run.sql.parsing.parser import Kind, parse
from django_confiture.dry_run.sql.transactions.settings_in_code import (
    EVERY_SETTING,
    SettingWrites,
    custom_settings,
    may_set,
    setting_writes,
)
from django_confiture.dry_run.transactions.at_commit.setting_code import (
    SettingCode,
    read_by_the_schema,
)

if TYPE_CHECKING:
    from django_confiture.dry_run.server.side_channel import Session
    from django_confiture.dry_run.sql.parsing.parser import Statement
    from django_confiture.dry_run.transactions.at_commit.database_code import DatabaseCode

SET_UNSEEN = (
    "It runs code that changes a setting whose name or duration is not written in it. A local one "
    "ends at COMMIT for real; here it may go on: --clone rehearses it exactly."
)

_FOR_SESSION = "confiture.set_for_session"
_ROLES = ("session_authorization", "role")
"""What decides which settings can be seen and set; in no view."""

# In lower case, as all code here has them: some have capitals (TimeZone, DateStyle).
_VALUES = r"""
    SELECT lower(name), setting FROM pg_catalog.pg_settings
    WHERE context IN ('user', 'superuser') AND name NOT LIKE 'transaction\_%'
    UNION ALL
    SELECT name, current_setting(name, true) FROM unnest(string_to_array($1, ',')) name
"""

_SETTING_NOTHING = (Kind.SAVEPOINT, Kind.TRANSACTION)

Values = dict[str, str]


class LocalSettings:
    """Ends local settings at a rehearsed COMMIT; a rollback ends them by itself."""

    def __init__(self, session: Session, code: DatabaseCode) -> None:
        self._session = session
        self._database_code = code
        self._custom: set[str] = set()
        self._knows_schema = False
        self._code: SettingCode | None = None
        self._committed: Values | None = None
        """The values that the last COMMIT left; None: to be read before the next change."""
        self._just_set: set[str] = set()
        """Set for the session by the last statement, not noted on the server yet."""
        self._for_session: set[str] = set()
        """Set for the session by code that a statement may have run, as that code says."""
        self._locally: set[str] = set()
        """The same of what is set for the transaction."""
        self._left_some = False

    @property
    def any_for_session(self) -> bool:
        """Whether one was set that lasts as long as the session."""
        return self._left_some or bool(self._just_set or self._for_session)

    def changed_outside(self) -> None:
        """Read the values again: they were changed by other means than a migration's."""
        self._committed = None

    def note_settings(self, statement: Statement, text: Callable[[], str]) -> str:
        """Note what a statement may set; return why a setting of it can't be seen, ``""`` if none.

        ``text`` returns the statement with its parameters in it.
        """
        if statement.kind in _SETTING_NOTHING or not self._database_code.can_ask:
            return ""
        self._note_for_session()
        code = self._known_code()
        self._learn(custom_settings(statement.sql))
        if not (code.writes or may_set(statement)):
            return ""
        if not self._knows_schema:
            self._knows_schema = True
            self._learn(read_by_the_schema(self._session))
        if self._committed is None:
            self._committed = self._values()
        return self._note(statement, text, code)

    def _note(self, statement: Statement, text: Callable[[], str], code: SettingCode) -> str:
        writes = setting_writes(statement)
        if writes.unclear and statement.what not in ("do_stmt", "call_stmt"):
            writes = _writes_with_parameters(text())
        self._learn({name for name in writes.local | writes.session if "." in name})
        if not statement.hides_code:
            self._just_set |= writes.local & (self._for_session - self._locally)
            self._note_for_session()  # what code has set, before the local value covers it
            self._just_set |= writes.session
        for each in (writes, *code.writes):
            self._for_session |= each.session
            self._locally |= each.local
        both = writes.session & self._locally | writes.local & self._for_session
        unclear = writes.unclear or (statement.hides_code and bool(both))
        return SET_UNSEEN if unclear or code.sets_unseen(statement) else ""

    def _known_code(self) -> SettingCode:
        if self._code is None or self._code.functions is not self._database_code.functions:
            self._code = SettingCode(self._database_code)
            self._learn(self._code.custom)
        return self._code

    def _learn(self, names: set[str]) -> None:
        new = names - self._custom
        if not new:
            return
        self._custom |= new
        if self._committed is not None:
            values = self._values()
            self._committed.update((name, values.get(name, "")) for name in new)

    def _values(self) -> Values:
        names = ",".join([_FOR_SESSION, *_ROLES, *sorted(self._custom)])
        return {name or "": value or "" for name, value in self._session.query(_VALUES, [names])}

    def _note_for_session(self) -> None:
        """Note on the server what the last statement has set for the session."""
        just_set, self._just_set = self._just_set, set()
        if not just_set or self._committed is None:
            return
        values = self._values()
        known = _set_for_session(values)
        if EVERY_SETTING in just_set:
            just_set = {name for name in values if values[name] != self._committed.get(name)}
            just_set |= set(known)
        known.update((name, values[name]) for name in just_set if name in values)
        query = "SELECT set_config($1, $2, true)"
        self._session.query(query, [_FOR_SESSION, json.dumps(known)])

    def ended(self, *, kept: bool) -> None:
        """Put back what was set for the transaction alone."""
        if not kept or self._committed is None or not self._database_code.can_ask:
            self._forget()
            return
        self._note_for_session()
        values = self._values()
        staying = {
            **{name: values[name] for name in self._for_session - self._locally if name in values},
            **_set_for_session(values),
        }
        self._left_some |= bool(staying)
        if self._put_back(_ROLES, self._committed, values, staying):
            values = self._values()  # another role sees others
        self._put_back(values.keys() - set(_ROLES), self._committed, values, staying)
        self._forget()

    def _forget(self) -> None:
        for names in (self._just_set, self._for_session, self._locally):
            names.clear()

    def _put_back(
        self, names: Iterable[str], committed: Values, values: Values, staying: Values
    ) -> bool:
        """Set what these settings are after the COMMIT; return whether that changed any."""
        after = {name: staying.get(name, committed.get(name, values[name])) for name in names}
        changed = [name for name in after if after[name] != values[name]]
        for name in changed:
            self._session.attempt("SELECT set_config($1, $2, true)", [name, after[name]])
        committed.update(after)
        return bool(changed)


def _set_for_session(values: Values) -> Values:
    found: Values = json.loads(values.get(_FOR_SESSION) or "{}")
    return found


def _writes_with_parameters(text: str) -> SettingWrites:
    """Return what a statement sets whose names are parameters."""
    statements = parse(text, placeholders=False)
    return setting_writes(statements[0]) if len(statements) == 1 else SettingWrites(unclear=True)
