"""The error for a session that the server ended outside of a migration: one line."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from django.db import Error

from django_confiture.exceptions import MigrationSessionLost
from django_confiture.migrate.lost_session import what_ended

if TYPE_CHECKING:
    from django.db.migrations.migration import Migration

_RECORDS = re.compile(r"(INSERT INTO|DELETE FROM)\s.*django_migrations", re.IGNORECASE)
_APPLIED = (
    "Each migration that showmigrations marks is applied. Run migrate again: it applies what is "
    "missing, and sends post_migrate."
)
_UNRECORDED = (
    "{} has run to its end, which could not be recorded: record it with migrate --fake, and then "
    "run migrate again."
)


class LostOutside:
    """A wrapper around Django's ``cursor.execute`` from ``pre_migrate`` to ``post_migrate``.

    It catches what is sent between migrations, and by receivers.
    """

    def __init__(self, in_migration: Callable[[], bool], close: Callable[[], None]) -> None:
        """``close`` ends what was begun for this ``migrate``."""
        self._in_migration = in_migration
        self._close = close
        self._ran: Migration | None = None

    def ran(self, migration: Migration) -> None:
        """Note a migration that is complete, and recorded with the next statement."""
        self._ran = migration

    def __call__(
        self,
        execute: Callable[..., Any],
        sql: Any,
        params: Any,
        many: bool,  # noqa: FBT001 - Django's signature
        context: dict[str, Any],
    ) -> Any:
        """Send one statement."""
        try:
            result = execute(sql, params, many, context)
        except Error as error:
            ended = None if self._in_migration() else what_ended(error)
            if ended is None:
                raise
            self._close()
            left = _APPLIED if self._ran is None else _UNRECORDED.format(self._ran)
            first = f"migrate stopped, as its database session ended: {ended.first_line}."
            said = (first, "It was between migrations, or in a receiver.", ended.why, left)
            raise MigrationSessionLost(" ".join(filter(None, said))) from error
        if self._ran is not None and _RECORDS.match(str(sql)):
            self._ran = None
        return result
