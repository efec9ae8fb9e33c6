"""What the dry run itself waits for: seen from a second connection, and kept out of every time.

The migration waits as long as others keep a lock; that says nothing of the migration. So the time
of a wait is taken out of the stopwatch, and reported apart.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass, replace
from time import perf_counter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from django_confiture.migrate.watching.activity import Blocker, Wait


@dataclass(frozen=True)
class LockWait:
    """One wait for a lock; times are by ``perf_counter``."""

    relation: str | None
    """None where it waited for another transaction to end."""
    mode: str
    began: float
    until: float
    """When it was seen to wait for the last time."""
    blocked_by: tuple[Blocker, ...] = ()
    """All that held it meanwhile, the first one first."""
    oid: int | None = None
    """The relation's: the second connection may know it by another name."""

    @property
    def ms(self) -> float:
        """How long the session was seen to wait."""
        return max(0.0, self.until - self.began) * 1000


class LockWaits:
    """The waits of one session: one thread notes them, another one takes them."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._noted: list[LockWait] = []
        self._taken_at = perf_counter()
        self._last: LockWait | None = None

    @property
    def last(self) -> LockWait | None:
        """The wait that was noted last, None if it never waited."""
        return self._last

    def note(self, wait: Wait, asked: float) -> None:
        """Note that the session waited at ``asked``; a wait that was noted before goes on."""
        began = asked - wait.waited_ms / 1000
        with self._lock:
            if began < self._taken_at:
                began = self._taken_at  # a part of it was taken
            if asked <= self._taken_at:
                return
            found = LockWait(wait.relation, wait.mode, began, asked, wait.blocked_by, wait.oid)
            last = self._noted[-1] if self._noted else None
            if last is not None and began < last.until:
                seen = (*last.blocked_by, *wait.blocked_by)
                blockers = {(each.pid, each.name): each for each in seen}
                found = replace(last, until=asked, blocked_by=tuple(blockers.values()))
                self._noted.pop()
            self._noted.append(found)
            self._last = found

    def take(self) -> Sequence[LockWait]:
        """Return the waits since the last call; the statement that waited is over."""
        with self._lock:
            found, self._noted = self._noted, []
            self._taken_at = perf_counter()
        return found
