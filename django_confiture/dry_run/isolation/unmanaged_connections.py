"""Connections past Django's: what a migration opens itself, or has opened before the dry run.

None of them can be rolled back, so none of them can write. Each is set to read-only when a thread
of the dry run opens it, or uses it for the first time; those of other threads are left alone.
"""

from __future__ import annotations

import functools
import threading
import time
import weakref
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any

import psycopg
from psycopg.pq import PipelineStatus, TransactionStatus

from django_confiture.dry_run.isolation.let_go import refuse
from django_confiture.dry_run.isolation.psycopg2_connections import Psycopg2Connections
from django_confiture.dry_run.isolation.threads import OwnThreads
from django_confiture.dry_run.server.driver import BEGIN, CONNECT, WAITING, psycopg_connection
from django_confiture.dry_run.server.identity import database_identity
from django_confiture.dry_run.server.patches import patched
from django_confiture.dry_run.server.side_channel import Session

_READ_ONLY = "default_transaction_read_only"

_CANNOT_WRITE = psycopg.errors.ReadOnlySqlTransaction.sqlstate

_OURS = "django-confiture"
"""Prefix of our own sessions' names: the watchdog's, and the one that drops a clone."""

_UNMEASURED = (
    "It used a connection opened past Django's: what that wrote and locked is not in this report."
)
_NOT_WRITABLE = (
    "It used a connection opened past Django's, which can't be rolled back and so can't write in "
    "this dry run; --clone lets it write."
)

_POLL_S = 0.05
"""Seconds between two checks of a connection that is in use."""

_Connection = psycopg.BaseConnection[Any]


class UnmanagedConnections:
    """Makes connections that Django does not know of read-only during a dry run."""

    def __init__(
        self,
        own: OwnThreads,
        timeouts: dict[str, str],
        clone: tuple[str, str] | None,
        not_rehearsed: Callable[[str], None],
    ) -> None:
        """``clone`` is the identity and the name of the one database that may be written.

        The name tells where psycopg2, which can't be asked, connects to: no other database has it.
        ``not_rehearsed`` is told why what runs now is not exact.
        """
        self._not_rehearsed = not_rehearsed
        self._own = own
        self._settings = {_READ_ONLY: "on", **timeouts}
        self._clone = clone[0] if clone else None
        self._clone_name = clone[1] if clone else None
        self._of_psycopg2 = Psycopg2Connections(self._settings, self._holds_psycopg2)
        self._held: weakref.WeakKeyDictionary[_Connection, tuple[str | None, ...]]
        self._held = weakref.WeakKeyDictionary()
        """With their settings as they were."""
        self._lock = threading.Lock()
        """Held while that is changed or gone through: the watchdog's thread asks who is held."""
        self._spared: weakref.WeakSet[_Connection] = weakref.WeakSet()
        self.count = 0
        """How many were held."""

    def spare(self, conn: _Connection) -> None:
        """Leave a connection of Django's alone."""
        self._spared.add(psycopg_connection(conn))

    def pids(self) -> list[int]:
        """Return the server processes of the connections that are held."""
        with self._lock:
            held = list(self._held)
        pids = [conn.info.backend_pid for conn in held if not conn.closed]
        return pids + self._of_psycopg2.pids()

    @contextmanager
    def read_only(self) -> Iterator[None]:
        """Make each connection read-only when it is opened or used; restore it at the end."""
        try:
            with (
                self._of_psycopg2.seen(),
                patched(
                    (CONNECT, self._connected),
                    (BEGIN, self._beginning),
                    *((wait, self._used) for wait in WAITING),
                ),
            ):
                yield
        finally:
            self._release()

    def _hold(self, conn: Any) -> None:
        if conn in self._spared or conn in self._held or not self._own.has_this:
            return
        if self._own.django_connects or _application_name(conn).startswith(_OURS):
            self.spare(conn)
            return
        if not _is_idle(conn):
            return
        session = Session(conn)
        if self._clone and database_identity(session) == self._clone:
            self.spare(conn)
            self._not_rehearsed(_UNMEASURED)
            return
        self._not_rehearsed(_NOT_WRITABLE)
        places = range(1, len(self._settings) + 1)
        shown = ", ".join(f"current_setting(${place})" for place in places)
        before = session.query(f"SELECT {shown}", [*self._settings])[0]
        with self._lock:
            self._held[conn] = before
        _set(session, self._settings)
        self.count += 1

    def _holds_psycopg2(self, database: str) -> bool:
        refuse()
        if not self._own.has_this:
            return False
        if database == self._clone_name:
            self._not_rehearsed(_UNMEASURED)
            return False
        self._not_rehearsed(_NOT_WRITABLE)
        self.count += 1
        return True

    def _connected(self, original: Callable[..., Any]) -> Callable[..., Any]:
        """Wrap what every ``connect`` of the driver comes to, imported by name or asynchronous."""

        @functools.wraps(original)
        def connect_gen(*args: Any, **kwargs: Any) -> Any:
            refuse()
            conn = yield from original(*args, **kwargs)
            self._hold(conn)
            return conn

        return connect_gen

    def _used(self, original: Callable[..., Any]) -> Callable[..., Any]:
        """Wrap what everything that is sent goes through."""

        @functools.wraps(original)
        def wait(conn: _Connection, *args: Any, **kwargs: Any) -> Any:
            refuse()
            self._hold(conn)
            return original(conn, *args, **kwargs)

        return wait

    def _beginning(
        self, original: Callable[[_Connection], bytes]
    ) -> Callable[[_Connection], bytes]:
        """Wrap what the driver begins with, where ``read_only = False`` would say READ WRITE."""

        @functools.wraps(original)
        def begin(conn: _Connection) -> bytes:
            command = original(conn)
            if conn not in self._held:
                return command
            return command.replace(b" READ WRITE", b"").replace(b" READ ONLY", b"") + b" READ ONLY"

        return begin

    def _release(self) -> None:
        for conn, before in list(self._held.items()):
            settings = dict(zip(self._settings, before, strict=True))
            if not _set_back(conn, settings):
                # Its statement may wait for a lock of ours, so we must not wait for it.
                later = partial(_set_back_later, weakref.ref(conn), settings)
                threading.Thread(target=later, daemon=True).start()


def can_only_read(error: BaseException) -> bool:
    """Return whether PostgreSQL refused to write in a read-only transaction, by either driver.

    Libraries such as SQLAlchemy raise an error of their own from the driver's.
    """
    each: BaseException | None = error
    while each is not None:
        if _CANNOT_WRITE in (getattr(each, "sqlstate", None), getattr(each, "pgcode", None)):
            return True
        each = each.__cause__
    return False


def _set_back_later(held: weakref.ref[_Connection], settings: Mapping[str, str | None]) -> None:
    """Restore a connection once it is idle, unless no one else has it any more."""
    while (conn := held()) is not None and not _set_back(conn, settings):
        del conn  # or the driver would never close it
        time.sleep(_POLL_S)


def _set_back(conn: Any, settings: Mapping[str, str | None]) -> bool:
    """Restore a connection that is not in use; return whether that is settled.

    What is set in a transaction is gone when that is rolled back, so its end is waited for.
    """
    free = _lock_of(conn)
    if not free.acquire(blocking=False):
        return False
    try:
        if conn.closed:
            return True
        if not _is_idle(conn):
            return False
        with suppress(psycopg.Error):
            _set(Session(conn), settings)
        return True
    finally:
        free.release()


def _lock_of(conn: Any) -> threading.Lock:
    """Return what a thread holds that uses the connection; nothing where that is a loop's."""
    lock: threading.Lock = conn.lock if isinstance(conn, psycopg.Connection) else threading.Lock()
    return lock


def _set(session: Session, settings: Mapping[str, str | None]) -> None:
    for name, value in settings.items():
        session.query("SELECT set_config($1, $2, false)", [name, value])


def _is_idle(conn: _Connection) -> bool:
    return (
        conn.pgconn.transaction_status == TransactionStatus.IDLE
        and conn.pgconn.pipeline_status == PipelineStatus.OFF
    )


def _application_name(conn: _Connection) -> str:
    return conn.info.parameter_status("application_name") or ""
