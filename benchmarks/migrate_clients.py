"""Clients that use a table while it is migrated, and the longest time that one had to wait."""

from __future__ import annotations

import multiprocessing
import random
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

CLIENTS = 8
_PROCESSES = 2
_HELD_S, _FREE_S = 1.0, 0.5


def _client(address: dict[str, Any], rows: int, stop: Any, longest: Any, index: int) -> None:
    import psycopg

    with psycopg.connect(**address, autocommit=True, application_name="client") as connection:
        while not stop.is_set():
            started = time.perf_counter()
            with suppress(psycopg.errors.UndefinedColumn):
                connection.execute(
                    "UPDATE bench_row SET number = number WHERE id = %s", [random.randint(1, rows)]
                )
            longest[index] = max(longest[index], (time.perf_counter() - started) * 1000)
            time.sleep(0.005)


def _clients(address: dict[str, Any], rows: int, stop: Any, longest: Any, first: int) -> None:
    each = CLIENTS // _PROCESSES
    threads = [
        threading.Thread(target=_client, args=(address, rows, stop, longest, first * each + index))
        for index in range(each)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def _long_transactions(address: dict[str, Any], stop: Any) -> None:
    import psycopg

    with psycopg.connect(**address, application_name="report") as connection:
        while not stop.is_set():
            connection.execute("SELECT count(*) FROM bench_row WHERE id < 10")
            time.sleep(_HELD_S)
            connection.rollback()
            time.sleep(_FREE_S)


@contextmanager
def clients(address: dict[str, Any], rows: int) -> Iterator[Any]:
    """Let clients and long transactions use the table; give each client's longest wait in ms."""
    context = multiprocessing.get_context("spawn")
    stop, longest = context.Event(), context.Array("d", CLIENTS)
    processes = [
        context.Process(target=_clients, args=(address, rows, stop, longest, index))
        for index in range(_PROCESSES)
    ]
    processes.append(context.Process(target=_long_transactions, args=(address, stop)))
    for process in processes:
        process.start()
    try:
        while min(longest) == 0.0:
            time.sleep(0.05)
        longest[:] = [0.0] * CLIENTS
        yield longest
    finally:
        stop.set()
        for process in processes:
            process.join()
