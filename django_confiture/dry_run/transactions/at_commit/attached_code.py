"""What tables and views read by code that hangs on them: policies, checks, defaults, rules."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django_confiture.dry_run.sql.parsing.parser import Kind
from django_confiture.dry_run.sql.rows.stamps import leaves_attached
from django_confiture.dry_run.sql.transactions.transaction_wide import OWN_SETTINGS, Shared
from django_confiture.dry_run.transactions.at_commit.node_trees import constants

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from django_confiture.dry_run.sql.parsing.parser import Statement
    from django_confiture.dry_run.transactions.at_commit.database_code import DatabaseCode

_QUERYING = ("create_table_as_stmt", "refresh_mat_view_stmt", "select_stmt")
"""DDL that reads tables and views."""

_OWN_SETTINGS = constants(OWN_SETTINGS)


class AttachedCode:
    """Knows the tables whose own code reads a setting, until a statement may have made more."""

    def __init__(self, code: DatabaseCode) -> None:
        self._code = code
        self._found: Mapping[str, set[Shared]] | None = None

    def forget(self) -> None:
        """Ask again when the next statement reads or writes a table."""
        self._found = None

    def note_attached(
        self,
        statement: Statement,
        tables: Collection[str],
        readers: Mapping[Shared, set[str]],
        *,
        mentions: bool,
    ) -> frozenset[Shared]:
        """Return what the code of the tables and views reads, itself or by one of the functions.

        ``mentions`` says whether the statement's own text has something of it. Other DDL may copy
        such code (``LIKE``), give its table another name, or have an event trigger make some.
        """
        is_ddl = statement.kind is Kind.DDL
        if is_ddl and statement.what in _QUERYING:
            tables = {each.relname for each in statement.relations}
        elif is_ddl:
            tables = ()
        if tables and self._found is None:
            self._found = self._look(readers)
        found = self._found or {}
        keys = frozenset(key for each in tables for key in found.get(each, ()))
        if mentions or (is_ddl and (any(readers.values()) or not leaves_attached(statement))):
            self.forget()
        return keys

    def _look(self, readers: Mapping[Shared, set[str]]) -> Mapping[str, set[Shared]]:
        found: dict[str, set[Shared]] = {}
        for table, tree, called in self._code.expressions(set().union(*readers.values())):
            keys = {key for key, names in readers.items() if not names.isdisjoint(called)}
            if _OWN_SETTINGS.search(tree):
                keys.add(Shared.SETTINGS)
            found.setdefault(table, set()).update(keys)
        if found:
            self._pass_on(found)
        return found

    def _pass_on(self, found: dict[str, set[Shared]]) -> None:
        """Let views and tables with rules read what the relations in them read."""
        uses = self._code.relations_in_rules()
        changed = True
        while changed:
            changed = False
            for name, used in uses:
                more = found.get(used, set()) - found.get(name, set())
                if more:
                    found.setdefault(name, set()).update(more)
                    changed = True
