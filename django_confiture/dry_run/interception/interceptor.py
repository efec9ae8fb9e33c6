"""Routes calls of psycopg's methods to the capture of their connection.

psycopg's methods are patched at class level, once for all connections: nothing less sees the ORM's
``iterator()``, a raw ``conn.execute()``, and cursors that were opened before.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
from psycopg import pq
from psycopg.pq import TransactionStatus

from django_confiture.dry_run.interception.protocols import Catching
from django_confiture.dry_run.server.driver import (
    CHECK_IDLE,
    ENDING,
    SEND_COMMAND,
    SENDING,
    SERVER_CURSOR_CLOSE,
    TRANSACTION_STATUS,
    in_transaction_block,
)
from django_confiture.dry_run.server.patches import Wrap, patched


class Interceptor:
    """Routes the statements of caught connections; other connections are left alone."""

    def __init__(self) -> None:
        self._captures: dict[pq.abc.PGconn, Catching] = {}
        """By libpq's connection, which the driver's objects lead to."""

    @contextmanager
    def installed(self) -> Iterator[None]:
        """Patch psycopg; whatever happens, it is put back."""
        with patched(
            *((method, self._sending(method.name)) for method in SENDING),
            (SERVER_CURSOR_CLOSE, self._closing),
            *((method, self._ending(method.name)) for method in ENDING),
            (SEND_COMMAND, self._commanding),
            (CHECK_IDLE, self._checking),
            (TRANSACTION_STATUS, self._showing),
        ):
            yield

    @contextmanager
    def catching(self, raw: psycopg.Connection[Any], capture: Catching) -> Iterator[None]:
        """Route what is sent on one connection to ``capture``."""
        self._captures[raw.pgconn] = capture
        try:
            yield
        finally:
            del self._captures[raw.pgconn]

    @contextmanager
    def passing(self, raw: psycopg.Connection[Any]) -> Iterator[None]:
        """Don't catch what is sent on one connection inside the block."""
        capture = self._captures.pop(raw.pgconn, None)
        try:
            yield
        finally:
            if capture is not None:
                self._captures[raw.pgconn] = capture

    def _sending(self, method: str) -> Wrap:
        def wrap(original: Callable[..., Any]) -> Callable[..., Any]:
            @functools.wraps(original)
            def sending(cursor: psycopg.Cursor[Any], query: Any, *args: Any, **kwargs: Any) -> Any:
                capture = self._captures.get(cursor.connection.pgconn)
                if capture is None:
                    return original(cursor, query, *args, **kwargs)
                send = functools.partial(original, cursor)
                return capture.sending(method, send, cursor, query, *args, **kwargs)

            return sending

        return wrap

    def _closing(self, original: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(original)
        def closing(cursor: psycopg.ServerCursor[Any]) -> None:
            capture = self._captures.get(cursor.connection.pgconn)
            if capture is not None and capture.has_closed(cursor):
                psycopg.Cursor.close(cursor)
            else:
                original(cursor)

        return closing

    def _ending(self, method: str) -> Wrap:
        def wrap(original: Callable[..., Any]) -> Callable[..., Any]:
            @functools.wraps(original)
            def ending(conn: psycopg.Connection[Any]) -> None:
                end = functools.partial(original, conn)
                capture = self._captures.get(conn.pgconn)
                if capture is None or in_transaction_block(conn):  # where the driver refuses it
                    end()
                else:
                    capture.ending(method, end)

            return ending

        return wrap

    def _commanding(self, original: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(original)
        def commanding(
            conn: psycopg.BaseConnection[Any], command: Any, *args: Any, **kwargs: Any
        ) -> Any:
            send = functools.partial(original, conn, command, *args, **kwargs)
            capture = self._captures.get(conn.pgconn)
            return send() if capture is None else capture.commanding(send, command)

        return commanding

    def _checking(self, original: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(original)
        def checking(conn: psycopg.BaseConnection[Any], attribute: str) -> Any:
            check = functools.partial(original, conn, attribute)
            capture = self._captures.get(conn.pgconn)
            return check() if capture is None else capture.checking(check, attribute)

        return checking

    def _showing(self, original: Any) -> property:
        def transaction_status(info: psycopg.ConnectionInfo) -> TransactionStatus:
            status: TransactionStatus = original.fget(info)
            capture = self._captures.get(info.pgconn)
            return status if capture is None else capture.showing(status)

        return property(transaction_status, doc=original.__doc__)
