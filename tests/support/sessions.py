"""Other sessions of the database that is migrated: those in the way, and those that wait."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import psycopg

from tests.support.dry_run import parameters


def connect(name: str, **more: Any) -> psycopg.Connection[Any]:
    return psycopg.connect(**parameters(), application_name=name, **more)


@contextmanager
def holding(statement: str, *, name: str = "web", for_s: float | None = None) -> Iterator[int]:
    """Hold what a statement locks, for a while or as long as the context; give the process."""
    with connect(name) as session:
        session.execute(statement)
        timer = threading.Timer(for_s or 3600, session.rollback)
        timer.start()
        try:
            yield session.info.backend_pid
        finally:
            if for_s is None:
                timer.cancel()
            timer.join()


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
