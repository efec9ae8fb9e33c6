"""``idle_in_transaction_session_timeout``, which a dry run can't leave to the server.

The dry run is in a transaction all the time, so the server would end it where no real migration
is idle in one. It is switched off, and what it would have ended is found by the stopwatch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from psycopg import errors

if TYPE_CHECKING:
    from django_confiture.dry_run.measuring.stopwatch import Stopwatch
    from django_confiture.dry_run.server.side_channel import Session
    from django_confiture.dry_run.sql.parser import Statement

IDLE_TIMEOUT = "idle_in_transaction_session_timeout"
_OF_SESSIONS = {IDLE_TIMEOUT, "idle_session_timeout", "transaction_timeout"}

NOT_SET = (
    "{} was not set: a dry run is in one transaction from beginning to end, which the server would "
    "end. --clone rehearses it exactly."
)


def limits_sessions(statement: Statement) -> str:
    """Return the timeout that a statement sets for idle or long transactions; ``""`` for none."""
    if statement.what != "variable_set_stmt":
        return ""
    setting = statement.node.variable_set_stmt
    if setting.name not in _OF_SESSIONS or not setting.args:
        return ""
    constant = setting.args[0].a_const
    is_off = constant.WhichOneof("val") == "ival" and not constant.ival.ival
    return "" if is_off or constant.sval.sval == "0" else str(setting.name)


class IdleTimeout:
    """Ends a rehearsed transaction that is idle for longer than the server would allow."""

    def __init__(self, session: Session, clock: Stopwatch) -> None:
        """Read the timeout, which role or database may have set."""
        found = session.value(
            "SELECT setting FROM pg_catalog.pg_settings WHERE name = $1", [IDLE_TIMEOUT]
        )
        self._limit_ms = int(found or 0)
        self._clock = clock
        self._idle_since: float | None = None

    def check(self) -> None:
        """Fail as the server would have let the next statement of the transaction fail."""
        if not self._limit_ms or self._idle_since is None:
            return
        if (self._clock.now() - self._idle_since) * 1000 > self._limit_ms:
            self._idle_since = None
            raise errors.IdleInTransactionSessionTimeout(
                "terminating connection due to idle-in-transaction timeout"
            )

    def sent(self, *, in_transaction: bool) -> None:
        """Note that the answer to a statement has come."""
        self._idle_since = self._clock.now() if in_transaction else None

    def ended(self) -> None:
        """Note that the transaction is over."""
        self._idle_since = None
