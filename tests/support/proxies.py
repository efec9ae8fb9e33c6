"""What tracers and pools put around psycopg's connection, in the ways in which they do it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import psycopg


class Delegate:
    """Passes everything on to what it wraps, which it keeps to itself."""

    def __init__(self, wrapped: Any) -> None:
        vars(self)["hidden"] = wrapped

    def __getattr__(self, name: str) -> Any:
        return getattr(vars(self)["hidden"], name)

    def __setattr__(self, name: str, value: object) -> None:
        setattr(vars(self)["hidden"], name, value)

    def __enter__(self) -> Any:
        vars(self)["hidden"].__enter__()
        return self

    def __exit__(self, *error: Any) -> Any:
        return vars(self)["hidden"].__exit__(*error)

    def __iter__(self) -> Any:
        return iter(vars(self)["hidden"])


class WraptProxy(Delegate):
    """As wrapt's: it also pretends to be of the class that it wraps."""

    @property  # type: ignore[misc]  # which is writable elsewhere
    def __class__(self) -> Any:
        return type(self.__wrapped__)

    @property
    def __wrapped__(self) -> Any:
        return vars(self)["hidden"]


class TracedConnection(WraptProxy):
    """As those of ddtrace, Elastic APM and New Relic: its cursors are proxies, too."""

    def cursor(self, *args: Any, **kwargs: Any) -> Any:
        return WraptProxy(self.__wrapped__.cursor(*args, **kwargs))


class PooledConnection(Delegate):
    """As SQLAlchemy's, which dj_db_conn_pool gives to Django."""

    @property
    def driver_connection(self) -> Any:
        return vars(self)["hidden"]


class KeptConnection(PooledConnection):
    """Given back to a pool instead of closed."""

    def close(self) -> None:
        self.rollback()


class HidingConnection(Delegate):
    """An unknown proxy: neither it nor its cursors tell what is behind them."""

    def cursor(self, *args: Any, **kwargs: Any) -> Any:
        return HidingCursor(vars(self)["hidden"].cursor(*args, **kwargs))


class HidingCursor(Delegate):
    connection = None


def connecting_through(proxy: Callable[[Any], Any]) -> Callable[..., Any]:
    """Return what a tracer puts in the place of ``psycopg.connect``."""
    connect = psycopg.connect

    def traced(*args: Any, **kwargs: Any) -> Any:
        return proxy(connect(*args, **kwargs))

    return traced
