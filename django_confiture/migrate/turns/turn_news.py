"""Messages of a ``migrate``, in the log and on its output, while it waits for another one."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING

from django_confiture.formatting import count, duration, one_line
from django_confiture.migrate.watching.announcements import log_facts

if TYPE_CHECKING:
    from django.db.migrations.migration import Migration

    from django_confiture.migrate.watching.activity import Blocker

logger = logging.getLogger("django_confiture.migrate")

_AGAIN_AFTER_S = 30.0


class TurnNews:
    """Reports one wait; ``write`` prints a line, if ``migrate`` prints any."""

    def __init__(self, first: Migration, write: Callable[[str], object]) -> None:
        self._first = first
        self._write = write
        self._next_s = 0.0

    def waiting(self, holder: Blocker, waited_s: float) -> None:
        """Report which ``migrate`` it waits for, at once and every half minute."""
        if waited_s < self._next_s:
            return
        if self._next_s == 0.0:
            name = f"{holder.application_name}, " if holder.application_name else ""
            self._write(
                f"  Waiting for another migrate of this database: {name}pid {holder.pid}, "
                f"connected for {duration(holder.transaction_ms or 0)}."
            )
        self._next_s = waited_s + _AGAIN_AFTER_S
        facts = {"waited_ms": round(waited_s * 1000), "blocked_by": [holder.as_dict()]}
        logger.warning("waits_for_migrate", extra={**log_facts(self._first), **facts})

    def goes_on(self, waited_s: float, *, left_out: int) -> None:
        """Report that the wait is over, and how many migrations the other one applied."""
        if self._next_s == 0.0 and not left_out:
            return
        waited = duration(waited_s * 1000)
        done = count(left_out, "migration")
        self._write(
            f"  Waited {waited} for it; {done} of this plan {'was' if left_out == 1 else 'were'} "
            "applied meanwhile."
        )
        facts = {"waited_ms": round(waited_s * 1000), "left_out": left_out}
        logger.info("goes_on_after_migrate", extra={**log_facts(self._first), **facts})

    def goes_on_without_lock(self, error: Exception) -> None:
        """Report that it goes on without the lock."""
        described = one_line(error)
        logger.warning(
            "Another migrate could start meanwhile: no connection for the lock that keeps it out "
            "(%s)",
            described,
            extra={**log_facts(self._first), "error": described},
        )
