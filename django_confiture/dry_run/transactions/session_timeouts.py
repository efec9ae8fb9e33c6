"""Timeouts of whole transactions, which a dry run can't leave to the server.

The dry run is in one transaction all the time, so the server would end it where no real migration
is idle in one, or lasts so long. They are switched off, and what they would have ended is found by
the stopwatch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from psycopg import errors

if TYPE_CHECKING:
    from django_confiture.dry_run.measuring.stopwatch import Stopwatch
    from django_confiture.dry_run.server.side_channel import Session
    from django_confiture.dry_run.sql.parsing.parser import Statement

IDLE_TIMEOUT = "idle_in_transaction_session_timeout"
_TRANSACTION_TIMEOUT = "transaction_timeout"
"""PostgreSQL 17 and later have it."""
_OF_SESSIONS = {IDLE_TIMEOUT, "idle_session_timeout", _TRANSACTION_TIMEOUT}
_LIMITS = "SELECT name, setting FROM pg_catalog.pg_settings WHERE name IN ($1, $2)"
_ENDED = "terminating connection due to {} timeout"

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


class SessionTimeouts:
    """Ends a rehearsed transaction that is idle, or lasts, for longer than the server allows."""

    def __init__(self, session: Session, clock: Stopwatch) -> None:
        """Read the timeouts, which role or database may have set."""
        rows = session.query(_LIMITS, [IDLE_TIMEOUT, _TRANSACTION_TIMEOUT])
        self._known = {name or "": int(limit or 0) for name, limit in rows}
        self._idle_limit_ms = self._known.get(IDLE_TIMEOUT, 0)
        self._limit_ms = self._known.get(_TRANSACTION_TIMEOUT, 0)
        self._clock = clock
        self._idle_since: float | None = None
        self._began: float | None = None

    @property
    def switched_off(self) -> dict[str, str]:
        """The settings that keep the server from ending the dry run's own transaction."""
        return dict.fromkeys(self._known, "0")

    def check(self) -> None:
        """Fail as the server would have let the next statement of the transaction fail."""
        if self._has_passed(self._idle_since, self._idle_limit_ms):
            self._idle_since = None
            raise errors.IdleInTransactionSessionTimeout(_ENDED.format("idle-in-transaction"))
        if self._has_passed(self._began, self._limit_ms):
            self._began = None
            raise errors.TransactionTimeout(_ENDED.format("transaction"))

    def _has_passed(self, since: float | None, limit_ms: int) -> bool:
        return (
            bool(limit_ms) and since is not None and (self._clock.now() - since) * 1000 > limit_ms
        )

    def begun(self) -> None:
        """Note that a transaction begins."""
        self._began = self._clock.now()

    def sent(self, *, in_transaction: bool) -> None:
        """Note that the answer to a statement has come."""
        self._idle_since = self._clock.now() if in_transaction else None

    def ended(self) -> None:
        """Note that the transaction is over."""
        self._idle_since = self._began = None
