"""The error for a session that the server ended outside of a migration: one line."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from django.db import Error

from django_confiture.exceptions import MigrationSessionLost
from django_confiture.migrate.lost_session import what_ended

if TYPE_CHECKING:
    from types import FrameType

    from django.db.backends.base.base import BaseDatabaseWrapper
    from django.db.migrations.migration import Migration

_RECORDS = re.compile(r"(INSERT INTO|DELETE FROM)\s.*django_migrations", re.IGNORECASE)
_MIGRATE = "django.core.management.commands.migrate"
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

    It catches what is sent between migrations, and by receivers; it rests while a migration runs.
    """

    def __init__(self, connection: BaseDatabaseWrapper, close: Callable[[], None]) -> None:
        """``close`` ends what was begun for this ``migrate``."""
        self._wrappers = connection.execute_wrappers
        self._close = close
        self._ran: Migration | None = None
        self._has_begun = False

    def begin(self) -> None:
        """Look at statements from now on."""
        self._has_begun = True
        self.go_on()

    def go_on(self, after: Migration | None = None) -> None:
        """Look at statements again, if it ever did.

        ``after`` is a migration that has run, and that one of them is to record.
        """
        self._ran = after
        if self._has_begun and self not in self._wrappers:
            self._wrappers.insert(0, self)

    def rest(self) -> None:
        """Look at none."""
        if self in self._wrappers:
            self._wrappers.remove(self)

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
            ended = what_ended(error) if _is_migrating() else None
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


def _is_migrating() -> bool:
    """Return whether ``migrate`` goes on: one that a receiver fails does not tell of its end."""
    frame: FrameType | None = sys._getframe()
    while frame is not None and frame.f_globals.get("__name__") != _MIGRATE:
        frame = frame.f_back
    return frame is not None
