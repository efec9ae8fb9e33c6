"""Timeouts of sessions and whole transactions, which a dry run can't leave to the server.

The dry run is in one transaction all the time, so the server would end it where no real migration
is idle in one, or lasts so long, and would not where one is idle outside of a transaction. On a
clone it would count the dry run's own work as idle. They are switched off, and what they would have
ended is found by the stopwatch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from psycopg import Error, errors

from django_confiture.dry_run.transactions.closing import ConnectionClosedError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from django_confiture.dry_run.measuring.stopwatch import Stopwatch
    from django_confiture.dry_run.server.side_channel import Session
    from django_confiture.dry_run.sql.parsing.parser import Statement

IDLE_TIMEOUT = "idle_in_transaction_session_timeout"
_IDLE_SESSION_TIMEOUT = "idle_session_timeout"
_TRANSACTION_TIMEOUT = "transaction_timeout"
"""PostgreSQL 17 and later have it."""
_OF_SESSIONS = (IDLE_TIMEOUT, _IDLE_SESSION_TIMEOUT, _TRANSACTION_TIMEOUT)
_LIMITS = "SELECT name, setting FROM pg_catalog.pg_settings WHERE name IN ($1, $2, $3)"
_ERRORS: Mapping[str, type[Error]] = {
    IDLE_TIMEOUT: errors.IdleInTransactionSessionTimeout,
    _IDLE_SESSION_TIMEOUT: errors.IdleSessionTimeout,
    _TRANSACTION_TIMEOUT: errors.TransactionTimeout,
}
_ENDED = {
    IDLE_TIMEOUT: "terminating connection due to idle-in-transaction timeout",
    _IDLE_SESSION_TIMEOUT: "terminating connection due to idle-session timeout",
    _TRANSACTION_TIMEOUT: "terminating connection due to transaction timeout",
}

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
    """Ends a session that is idle, or a transaction that lasts, for longer than the server allows.

    What swallows the error gets no further than for real: the connection stays closed until Django
    makes a new one. Idle is a session from the answer to a statement until the next one.
    """

    def __init__(self, session: Session, clock: Stopwatch) -> None:
        """Know of no timeout yet: there is none where another instance watches them."""
        self._session = session
        self._known: Mapping[str, int] = {}
        self._clock = clock
        self._idle_since: float | None = None
        self._idle_in_transaction = False
        self._began: float | None = None
        self._raised: list[BaseException] = []
        self._is_lost = False

    def read(self) -> None:
        """Read the timeouts, which role or database may have set."""
        rows = self._session.query(_LIMITS, list(_OF_SESSIONS))
        self._known = {name or "": int(limit or 0) for name, limit in rows}

    @property
    def switched_off(self) -> dict[str, str]:
        """The settings that keep the server from ending the dry run's own transaction."""
        return dict.fromkeys(self._known, "0")

    def check(self) -> None:
        """Fail as the server would have let the next statement of the session fail."""
        if self._is_lost:
            raise ConnectionClosedError
        idle = IDLE_TIMEOUT if self._idle_in_transaction else _IDLE_SESSION_TIMEOUT
        if self._has_passed(self._idle_since, idle):
            self._idle_since = None
            raise self._ended(idle)
        if self._has_passed(self._began, _TRANSACTION_TIMEOUT):
            self._began = None
            raise self._ended(_TRANSACTION_TIMEOUT)

    def has_raised(self, error: BaseException) -> bool:
        """Return whether an error stands for the server's, which the real run gets as well."""
        return any(each is error for each in self._raised)

    def _ended(self, timeout: str) -> Error:
        error = _ERRORS[timeout](_ENDED[timeout])
        self._raised.append(error)
        self._is_lost = True
        return error

    def _has_passed(self, since: float | None, timeout: str) -> bool:
        limit_ms = self._known.get(timeout, 0)
        return (
            bool(limit_ms) and since is not None and (self._clock.now() - since) * 1000 > limit_ms
        )

    def reconnected(self) -> None:
        """Note that Django has given up its connection, and makes a new one."""
        self._is_lost = False

    def begun(self) -> None:
        """Note that a transaction begins."""
        self._began = self._clock.now()

    def sent(self, *, in_transaction: bool) -> None:
        """Note that the answer to a statement has come."""
        self._idle_since = self._clock.now()
        self._idle_in_transaction = in_transaction

    def ended(self) -> None:
        """Note that the transaction is over."""
        self._began = None
        self.sent(in_transaction=False)
