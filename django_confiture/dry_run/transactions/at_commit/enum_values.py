"""Values that a migration adds to an enum: usable only after a COMMIT, which a dry run lacks.

PostgreSQL remembers by OID what ``ALTER TYPE ... ADD VALUE`` has added, and refuses to use it until
the transaction ends. So no row can hold one, and each may get another OID where the
rehearsed transaction ends. Catalogs are a superuser's to write.
"""

from __future__ import annotations

from collections.abc import Iterable

from psycopg import errors
from psycopg.pq import TransactionStatus

from django_confiture.dry_run.server.side_channel import Session
from django_confiture.dry_run.sql.parsing.parser import Statement
from django_confiture.postgres import POSTGRESQL_17

NO_COMMIT = (
    "An enum value can be used only after the COMMIT of its ADD VALUE, and a dry run does not "
    "commit: rehearse as a superuser, who does not need that COMMIT, or with --clone."
)

_ADDING = {"alter_enum_stmt", "do_stmt", "call_stmt"}

# What CREATE TYPE made can be used at once, so this transaction's rows may hold it.
_NEW = """
    SELECT e.oid, format('SELECT %L::%s', e.enumlabel, format_type(e.enumtypid, NULL))
    FROM pg_catalog.pg_enum e
    WHERE age(e.xmin) <= 0 AND pg_catalog.pg_current_xact_id_if_assigned() IS NOT NULL
      AND current_setting('is_superuser') = 'on'
"""

# One that is odd, by PostgreSQL's own convention, says nothing about the value's place.
_RENUMBER = """
    UPDATE pg_catalog.pg_enum SET oid = (
        SELECT (max(oid::bigint) + 1 + max(oid::bigint) % 2)::oid FROM pg_catalog.pg_enum)
    WHERE oid = $1
"""


class EnumValues:
    """Makes the new values of a rehearsed transaction usable when it has ended."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._added = False

    def note_statement(self, statement: Statement) -> None:
        """Note what may add a value."""
        self._added = self._added or statement.what in _ADDING

    def ended(self, *, kept: bool) -> None:
        """Do what COMMIT would do for new values."""
        if not kept or not self._added or self._session.status != TransactionStatus.INTRANS:
            return
        self._added = False
        for oid, use in self._session.query(_NEW):
            if self._is_unsafe(use or ""):
                self._session.query(_RENUMBER, [oid])

    def _is_unsafe(self, use: str) -> bool:
        with self._session.undone():
            try:
                self._session.query(use)
            except errors.UnsafeNewEnumValueUsage:
                return True
        return False


def is_committed_by_then(error: BaseException, together: Iterable[Statement], server: int) -> bool:
    """Return whether a real run would not have failed so, thanks to a COMMIT.

    ``together`` are the statements of the real run's transaction that met with it.
    """
    if not isinstance(error, errors.UnsafeNewEnumValueUsage):
        return False
    together = list(together)
    new = {_type(each) for each in together if each.what == "create_enum_stmt"}
    return not any(
        each.what in _ADDING
        # A type of the transaction itself, which for us is a savepoint.
        and not (server >= POSTGRESQL_17 and each.what == "alter_enum_stmt" and _type(each) in new)
        for each in together
    )


def _type(statement: Statement) -> str:
    return str(getattr(statement.node, statement.what).type_name[-1].string.sval)
