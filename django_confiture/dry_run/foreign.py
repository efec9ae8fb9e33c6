"""Connections past Django's: what a migration opens itself, or has opened before the dry run.

None of them can be rolled back, so none of them can write.
"""

from __future__ import annotations

import functools
import gc
import threading
import weakref
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from typing import Any

import psycopg
from django.db import connections
from psycopg.pq import TransactionStatus

from django_confiture.dry_run.session import Session

IDENTITY = (
    "SELECT pg_catalog.pg_postmaster_start_time()::text || ' ' || oid FROM pg_catalog.pg_database"
    " WHERE datname = current_database()"
)

_READ_ONLY = "default_transaction_read_only"

_OURS = "django-confiture"
"""How the names of our own sessions begin: the watchdog's, and the one that drops a copy."""

_Connection = psycopg.BaseConnection[Any]


class ForeignConnections:
    """Lets connections that Django does not know of read, while a dry run is on."""

    def __init__(self, timeouts: dict[str, str], writable: str | None) -> None:
        """Take as ``writable`` the identity of a database that is a copy."""
        self._timeouts = timeouts
        self._writable = writable
        self._found: weakref.WeakSet[_Connection] = weakref.WeakSet()
        self._opened: weakref.WeakSet[_Connection] = weakref.WeakSet()
        self._django = threading.local()
        self.count = 0

    @contextmanager
    def of_django(self) -> Iterator[None]:
        """Let Django itself connect, in this thread."""
        self._django.connects = True
        try:
            yield
        finally:
            self._django.connects = False

    def pids(self) -> list[int]:
        """Return the server processes of those that a migration has opened."""
        return [conn.info.backend_pid for conn in list(self._opened) if not conn.closed]

    @contextmanager
    def read_only(self) -> Iterator[None]:
        """Hold those that are open now, and those that will be opened."""
        driver: Any = psycopg.BaseConnection
        connect_gen = driver.__dict__["_connect_gen"]
        begin = driver.__dict__["_get_tx_start_command"]
        with ExitStack() as stack:
            for conn in _idle():
                stack.enter_context(self._reading(conn))
            stack.callback(setattr, driver, "_connect_gen", connect_gen)
            stack.callback(setattr, driver, "_get_tx_start_command", begin)
            stack.callback(self._release)
            driver._connect_gen = classmethod(self._connected(connect_gen.__func__))
            driver._get_tx_start_command = self._beginning(begin)
            yield

    @contextmanager
    def _reading(self, conn: psycopg.Connection[Any]) -> Iterator[None]:
        with _locked(conn) as free:
            if not free:
                yield
                return
            before = Session(conn).value(f"SHOW {_READ_ONLY}")
            conn.pgconn.exec_(f"SET {_READ_ONLY} = on".encode())
            self._found.add(conn)
        try:
            yield
        finally:
            restore = functools.partial(_write_again, conn, before)
            if not restore(wait=False):
                # Its statement may wait for a lock of ours, so we must not wait for it.
                threading.Thread(target=restore, kwargs={"wait": True}, daemon=True).start()

    def _release(self) -> None:
        for conn in self._opened:
            if not conn.closed:
                for name in (_READ_ONLY, *self._timeouts):
                    conn.pgconn.exec_(f"RESET {name}".encode())

    def _connected(self, original: Callable[..., Any]) -> Callable[..., Any]:
        """Wrap what every ``connect`` of the driver comes to, imported by name or asynchronous."""

        @functools.wraps(original)
        def connect_gen(*args: Any, **kwargs: Any) -> Any:
            conn = yield from original(*args, **kwargs)
            if not getattr(self._django, "connects", False):
                if self._writable and Session(conn).value(IDENTITY) == self._writable:
                    return conn
                conn.pgconn.exec_(f"SET {_READ_ONLY} = on".encode())
                for name, value in self._timeouts.items():
                    conn.pgconn.exec_(f"SET {name} = '{value}'".encode())
                self._opened.add(conn)
                self.count += 1
            return conn

        return connect_gen

    def _beginning(
        self, original: Callable[[_Connection], bytes]
    ) -> Callable[[_Connection], bytes]:
        """Wrap what the driver begins with, where ``read_only = False`` would say READ WRITE."""

        @functools.wraps(original)
        def begin(conn: _Connection) -> bytes:
            command = original(conn)
            if conn not in self._opened and conn not in self._found:
                return command
            return command.replace(b" READ WRITE", b"").replace(b" READ ONLY", b"") + b" READ ONLY"

        return begin


def _write_again(conn: psycopg.Connection[Any], before: str, *, wait: bool) -> bool:
    """Set a connection back, as soon as nobody uses it; say whether that is done."""
    if not conn.lock.acquire(blocking=wait):
        return False
    try:
        if not conn.closed:
            with suppress(psycopg.Error):
                Session(conn).query(f"SET {_READ_ONLY} = {before}")
    finally:
        conn.lock.release()
    return True


def _idle() -> Iterator[psycopg.Connection[Any]]:
    """Yield the connections of this process that are neither Django's nor ours, nor in use."""
    django = {id(wrapper.connection) for wrapper in connections.all(initialized_only=True)}
    for each in gc.get_objects():
        # Not isinstance(), which would ask a lazy object for its class.
        if issubclass(type(each), psycopg.Connection) and id(each) not in django:
            conn: psycopg.Connection[Any] = each
            if not conn.closed and not _name(conn).startswith(_OURS):
                yield conn


def _name(conn: psycopg.Connection[Any]) -> str:
    return conn.info.parameter_status("application_name") or ""


@contextmanager
def _locked(conn: psycopg.Connection[Any]) -> Iterator[bool]:
    """Take a connection's lock without waiting; say whether nobody uses it."""
    if not conn.lock.acquire(blocking=False):
        yield False
        return
    try:
        yield conn.pgconn.transaction_status == TransactionStatus.IDLE
    finally:
        conn.lock.release()
