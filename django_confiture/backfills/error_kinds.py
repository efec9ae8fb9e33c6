"""What to do about an error of a batch."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from enum import Enum
from typing import TypeVar

from django.db import Error, InterfaceError, OperationalError, connections
from django.db.backends.base.base import BaseDatabaseWrapper

from django_confiture.exceptions import BackfillError

_BUSY = ("55P03", "57014", "40")
"""Lock timeout, statement timeout; deadlock, serialization failure and what else rolled it back."""
_LOST = ("08", "57P01", "57P02", "57P03", "57P05", "25P03", "25P04", "25006")
"""The server ends the connection: shutdown, pg_terminate_backend(), a time limit of the session.

The message can be here before the socket is closed. A server that only reads (25006) has become a
replica: a new connection may lead to the one that took its place.
"""
_HOPELESS = ("42", "0A", "25", "26", "53", "54011", "54023", "57P04", "58", "XX")
"""SQLSTATEs that a smaller batch can't avoid: wrong SQL, missing rights, a full disk, no database.

Of limits (54), only those of a statement are among them: one row can be too large for an index.
"""


class RowFault(BackfillError):  # noqa: N818 - its message says what failed
    """A row can't be done, and the backfill has to stop."""


T = TypeVar("T")

FIRST_DELAY = 0.1
LONGEST_DELAY = 30.0


class ErrorKind(Enum):
    """What kind of error failed a batch, which decides what to do next."""

    BUSY = "busy"
    """Others are in the way: wait, and try fewer rows."""
    LOST = "lost"
    """The connection is gone: connect again."""
    HOPELESS = "hopeless"
    """No row is at fault: stop."""
    ROW = "row"
    """Some row is at fault: try fewer, until it is alone."""


def kind_of(error: Exception, connection: BaseDatabaseWrapper) -> ErrorKind:
    """Return which kind of error it is."""
    raw = connection.connection
    if isinstance(error, OperationalError | InterfaceError) and (raw is None or raw.closed):
        return ErrorKind.LOST
    state = sqlstate_of(error)
    if state.startswith(_LOST):
        return ErrorKind.LOST
    if state.startswith(_BUSY):
        return ErrorKind.BUSY
    if state.startswith(_HOPELESS) or isinstance(error, NotImplementedError):
        return ErrorKind.HOPELESS
    return ErrorKind.ROW


def backoff(failures: int) -> float:
    """Return how many seconds to wait after so many failures in a row, with jitter."""
    longest = min(LONGEST_DELAY, FIRST_DELAY * 2.0 ** min(failures - 1, 20))
    return longest * random.uniform(0.5, 1)  # noqa: S311 - jitter, no secret


def with_retries(action: Callable[[], T], *, using: str, attempts: int) -> T:
    """Do what is safe to repeat, again after a lost connection or a lock in the way."""
    failures = 0
    while True:
        connection = connections[using]
        try:
            return action()
        except Error as error:
            kind = kind_of(error, connection)
            failures += 1
            again = kind in (ErrorKind.BUSY, ErrorKind.LOST) and not connection.in_atomic_block
            if not again or failures >= attempts:
                raise
            if kind is ErrorKind.LOST:
                connection.close()
        time.sleep(backoff(failures))


def sqlstate_of(error: BaseException | None) -> str:
    """Return the SQLSTATE of an error, or of what it was raised from; else ``""``."""
    while error is not None:
        if state := getattr(error, "sqlstate", None):
            return str(state)
        error = error.__cause__
    return ""
