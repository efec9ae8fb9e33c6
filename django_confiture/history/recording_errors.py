"""Turns errors of the ledger into warnings, one for each kind: the migration goes on."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from django_confiture.formatting import error_line

if TYPE_CHECKING:
    from django.db.migrations.migration import Migration

logger = logging.getLogger("django_confiture.history")

_said: set[tuple[str, str]] = set()


@contextmanager
def quietly(what: str, migration: Migration | None = None) -> Iterator[None]:
    """Turn an error inside the block into a warning."""
    try:
        yield
    except Exception as error:  # noqa: BLE001 - a missing record must not stop a migration
        warn(what, error_line(error), migration)


def warn(what: str, why: str, migration: Migration | None = None) -> None:
    """Log that ``what`` was not recorded, and why; each kind of reason once per process."""
    reason = (what, why.partition(":")[0])
    if reason in _said:
        return
    _said.add(reason)
    logger.warning(
        "The migration history lacks %s: %s",
        what,
        why,
        extra={
            "what": what,
            "migration": migration.name if migration is not None else "",
            "app_label": migration.app_label if migration is not None else "",
            "error": why,
        },
    )


def forget() -> None:
    """Forget what was logged, so that it is logged again."""
    _said.clear()
