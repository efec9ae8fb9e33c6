"""Whatever fails in here, the migration goes on: it is a warning, once for each kind."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from django_confiture.formatting import one_line

if TYPE_CHECKING:
    from django.db.migrations.migration import Migration

logger = logging.getLogger("django_confiture.history")

_said: set[tuple[str, str]] = set()


@contextmanager
def quietly(what: str, migration: Migration | None = None) -> Iterator[None]:
    """Turn an error into a warning."""
    try:
        yield
    except Exception as error:  # noqa: BLE001 - a record is no reason to stop a migration
        warn(what, error, migration)


def warn(what: str, error: Exception, migration: Migration | None = None) -> None:
    """Say that ``what`` was not recorded, and why; the same reason once in a process."""
    reason = (what, type(error).__name__)
    if reason in _said:
        return
    _said.add(reason)
    described = one_line(f"{type(error).__name__}: {error}")
    logger.warning(
        "The migration history lacks %s: %s",
        what,
        described,
        extra={
            "what": what,
            "migration": migration.name if migration is not None else "",
            "app_label": migration.app_label if migration is not None else "",
            "error": described,
        },
    )


def forget() -> None:
    """Say everything anew."""
    _said.clear()
