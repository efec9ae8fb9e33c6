"""PostgreSQL's eight table-level lock modes, in order of strength.

Source: the table "Conflicting Lock Modes" in the manual's chapter "Explicit Locking", and
``src/include/storage/lockdefs.h`` for the numbers, which ``LOCK TABLE`` carries in its parse tree.
"""

from __future__ import annotations

import enum


class LockMode(enum.IntEnum):
    """A table-level lock mode, named as in ``pg_locks.mode``.

    ``LockMode["ShareLock"]`` parses a name. A greater value is a stronger lock: it conflicts with
    everything that a lesser one conflicts with. The exception is ``ShareLock``, which does not
    conflict with itself, while ``RowExclusiveLock`` and ``ShareUpdateExclusiveLock`` do conflict
    with it.
    """

    AccessShareLock = 1
    RowShareLock = 2
    RowExclusiveLock = 3
    ShareUpdateExclusiveLock = 4
    ShareLock = 5
    ShareRowExclusiveLock = 6
    ExclusiveLock = 7
    AccessExclusiveLock = 8

    def conflicts_with(self, other: LockMode) -> bool:
        """Return whether one of the two has to wait while another session holds the other."""
        return other in _CONFLICTS[self]

    @property
    def blocks_reads(self) -> bool:
        """Whether a plain ``SELECT`` of another session has to wait."""
        return self.conflicts_with(LockMode.AccessShareLock)

    @property
    def blocks_writes(self) -> bool:
        """Whether an ``INSERT``, ``UPDATE`` or ``DELETE`` of another session has to wait."""
        return self.conflicts_with(LockMode.RowExclusiveLock)


def _from(weakest: LockMode, *but: LockMode) -> frozenset[LockMode]:
    """Return ``weakest`` and every stronger mode, without those in ``but``."""
    return frozenset(mode for mode in LockMode if mode >= weakest and mode not in but)


_CONFLICTS = {
    LockMode.AccessShareLock: _from(LockMode.AccessExclusiveLock),
    LockMode.RowShareLock: _from(LockMode.ExclusiveLock),
    LockMode.RowExclusiveLock: _from(LockMode.ShareLock),
    LockMode.ShareUpdateExclusiveLock: _from(LockMode.ShareUpdateExclusiveLock),
    # Two index builds may run at the same time: SHARE does not conflict with itself.
    LockMode.ShareLock: _from(LockMode.RowExclusiveLock, LockMode.ShareLock),
    LockMode.ShareRowExclusiveLock: _from(LockMode.RowExclusiveLock),
    LockMode.ExclusiveLock: _from(LockMode.RowShareLock),
    LockMode.AccessExclusiveLock: _from(LockMode.AccessShareLock),
}
