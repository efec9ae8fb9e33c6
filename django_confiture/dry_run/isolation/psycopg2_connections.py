"""Connections of psycopg2, which a project can have beside psycopg: SQLAlchemy and pandas use it.

They are seen when they are opened, and not again. libpq sets what their options say.
"""

from __future__ import annotations

import functools
import os
import threading
import weakref
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from django_confiture.dry_run.server.driver import PSYCOPG2_CONNECT
from django_confiture.dry_run.server.patches import patched


class Psycopg2Connections:
    """Tells of each connection that psycopg2 opens, which begins with settings of the dry run."""

    def __init__(self, settings: Mapping[str, str], is_held: Callable[[str], bool]) -> None:
        """``is_held`` is asked, with the name of a database, if a new connection gets them."""
        self._settings = settings
        self._is_held = is_held
        self._held: weakref.WeakSet[Any] = weakref.WeakSet()
        self._lock = threading.Lock()
        """The watchdog's thread asks for the server processes."""

    def pids(self) -> list[int]:
        """Return the server processes of those that are open."""
        with self._lock:
            held = list(self._held)
        return [conn.info.backend_pid for conn in held if not conn.closed]

    @contextmanager
    def seen(self) -> Iterator[None]:
        """See what psycopg2 opens, if it is installed."""
        with patched(*((name, self._connecting) for name in PSYCOPG2_CONNECT)):
            yield

    def _connecting(self, original: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(original)
        def connect(dsn: str, *args: Any, **named: Any) -> Any:
            from psycopg2.extensions import make_dsn, parse_dsn  # an optional driver

            given = parse_dsn(dsn)
            if not self._is_held(given.get("dbname", "")):
                return original(dsn, *args, **named)
            options = given.get("options", os.environ.get("PGOPTIONS", ""))
            ours = (f"-c {name}={value}" for name, value in self._settings.items())
            conn = original(make_dsn(dsn, options=" ".join([options, *ours])), *args, **named)
            with self._lock:
                self._held.add(conn)
            return conn

        return connect
