"""Other sessions of the database that is migrated: those in the way, and those that wait."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import psycopg

from tests.support.dry_run import parameters


def connect(name: str, **more: Any) -> psycopg.Connection[Any]:
    return psycopg.connect(**parameters(), application_name=name, **more)


@contextmanager
def holding(
    statement: str,
    *,
    name: str = "web",
    for_s: float | None = None,
    until: Callable[[], object] = lambda: False,
) -> Iterator[int]:
    """Hold what a statement locks, and give the process.

    It is held for a while, until something is true, or as long as the context.
    """
    left = threading.Event()
    with connect(name) as session:
        session.execute(statement)
        deadline = time.monotonic() + (for_s or 3600)

        def let_go() -> None:
            while time.monotonic() < deadline and not until() and not left.wait(0.01):
                pass
            session.rollback()

        thread = threading.Thread(target=let_go)
        thread.start()
        try:
            yield session.info.backend_pid
        finally:
            if for_s is None:
                left.set()
            thread.join()


class Client:
    """A client that runs one statement again and again, and notes its longest wait."""

    def __init__(self, statement: str, name: str, pause_s: float = 0.005) -> None:
        self.longest_s = 0.0
        self._statement = statement
        self._pause_s = pause_s
        self._session = connect(name, autocommit=True)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        while not self._stop.is_set():
            started = time.perf_counter()
            with suppress(psycopg.errors.UndefinedColumn):
                self._session.execute(self._statement)
            self.longest_s = max(self.longest_s, time.perf_counter() - started)
            time.sleep(self._pause_s)

    def close(self) -> None:
        self._stop.set()
        self._thread.join()
        self._session.close()


@contextmanager
def client(statement: str, *, name: str = "shop") -> Iterator[Client]:
    found = Client(statement, name)
    try:
        yield found
    finally:
        found.close()
