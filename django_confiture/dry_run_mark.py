"""The mark on Django's connection by which hooks and ``migrate`` know that they are rehearsed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from django.db.backends.base.base import BaseDatabaseWrapper

_MARK = "_confiture_dry_run"


def in_dry_run(connection: Any) -> bool:
    """Return whether a dry run has the connection, be it one of Django's or a stand-in for it."""
    return getattr(connection, _MARK, False)


def mark(connection: BaseDatabaseWrapper) -> None:
    """Mark a connection that only a dry run has."""
    setattr(connection, _MARK, True)


@contextmanager
def marked(connection: BaseDatabaseWrapper) -> Iterator[None]:
    """Mark a connection until the block ends."""
    mark(connection)
    try:
        yield
    finally:
        vars(connection).pop(_MARK, None)
