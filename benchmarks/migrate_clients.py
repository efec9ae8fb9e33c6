"""Clients that use a table while it is migrated, and how long they had to wait, and for what."""

from __future__ import annotations

import multiprocessing
import random
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from queue import Empty
from typing import Any

CLIENTS = 8
_PROCESSES = 2
_HELD_S, _FREE_S = 1.0, 0.5
_LOOK_S = 0.02
_NOTED_S = 0.1
"""Shorter waits are not kept one by one."""

_WAITS = """
SELECT a.pid, coalesce(a.wait_event_type, 'server'), coalesce(a.wait_event, 'at work'),
  coalesce((SELECT coalesce(nullif(b.application_name, ''), 'migrate') || ' that ' || CASE
      WHEN b.wait_event_type = 'Lock' THEN 'waits itself' WHEN b.state LIKE 'idle%%'
      THEN 'is in Python' ELSE 'runs ' || left(b.query, 40) END
    FROM unnest(CASE WHEN a.wait_event_type = 'Lock' THEN pg_blocking_pids(a.pid) END) u (pid)
    JOIN pg_stat_activity b USING (pid) ORDER BY b.application_name = 'client' LIMIT 1), '')
FROM pg_stat_activity a WHERE a.application_name = 'client' AND a.state = 'active'
"""


@dataclass(frozen=True)
class Stall:
    """One statement of one client."""

    pid: int
    began: float
    ended: float

    @property
    def ms(self) -> float:
        """How long the client waited for its answer."""
        return (self.ended - self.began) * 1000


@dataclass(frozen=True)
class Look:
    """What a client's session was doing at one moment."""

    at: float
    pid: int
    doing: str


class Waits:
    """The waits of all clients, and what was seen of them from outside."""

    def __init__(self, stalls: Any, looks: Any, longest: Any) -> None:
        self._stalls, self._looks, self._longest = stalls, looks, longest

    @property
    def longest_ms(self) -> float:
        """The longest wait so far."""
        return max(self._longest)

    def explained(self) -> tuple[float, str]:
        """Return the longest wait, and the share of its looks that saw the client at what."""
        stalls, looks = list(_taken(self._stalls)), list(_taken(self._looks))
        if not stalls:
            return self.longest_ms, ""
        worst = max(stalls, key=lambda each: each.ms)
        return worst.ms, explanation(worst, looks)


def explanation(stall: Stall, looks: Sequence[Look]) -> str:
    """Return what a client was seen at during a stall, with the share of looks."""
    seen = [look for look in looks if look.pid == stall.pid and stall.began < look.at < stall.ended]
    if not seen:
        return "the client was never seen at work in the server"
    shares = Counter(look.doing for look in seen).most_common(3)
    return ", ".join(f"{count / len(seen):.0%} {doing}" for doing, count in shares)


def _taken(queue: Any) -> Iterator[Any]:
    with suppress(Empty):
        while True:
            yield queue.get(timeout=0.2)


def _client(
    address: dict[str, Any], rows: int, stop: Any, longest: Any, stalls: Any, index: int
) -> None:
    import psycopg

    with psycopg.connect(**address, autocommit=True, application_name="client") as connection:
        pid = connection.info.backend_pid
        while not stop.is_set():
            began = time.monotonic()
            with suppress(psycopg.errors.UndefinedColumn):
                connection.execute(
                    "UPDATE bench_row SET number = number WHERE id = %s", [random.randint(1, rows)]
                )
            ended = time.monotonic()
            longest[index] = max(longest[index], (ended - began) * 1000)
            if ended - began > _NOTED_S:
                stalls.put(Stall(pid, began, ended))
            time.sleep(0.005)


def _clients(
    address: dict[str, Any], rows: int, stop: Any, longest: Any, stalls: Any, first: int
) -> None:
    each = CLIENTS // _PROCESSES
    threads = [
        threading.Thread(
            target=_client, args=(address, rows, stop, longest, stalls, first * each + index)
        )
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


def _watch(address: dict[str, Any], stop: Any, looks: Any) -> None:
    """Note what each client that waits is at; the time is the same clock as the clients'."""
    import psycopg

    with psycopg.connect(**address, autocommit=True, application_name="watch") as connection:
        while not stop.is_set():
            at = time.monotonic()
            for pid, kind, event, blocker in connection.execute(_WAITS).fetchall():
                behind = f" behind {blocker}" if blocker else ""
                looks.put(Look(at, pid, f"{kind} {event}{behind}"))
            time.sleep(_LOOK_S)


@contextmanager
def clients(address: dict[str, Any], rows: int) -> Iterator[Waits]:
    """Let clients and long transactions use the table; yield their waits."""
    context = multiprocessing.get_context("spawn")
    stop, longest = context.Event(), context.Array("d", CLIENTS)
    stalls, looks = context.Queue(), context.Queue()
    processes = [
        context.Process(target=_clients, args=(address, rows, stop, longest, stalls, index))
        for index in range(_PROCESSES)
    ]
    processes.append(context.Process(target=_long_transactions, args=(address, stop)))
    processes.append(context.Process(target=_watch, args=(address, stop, looks)))
    for process in processes:
        process.start()
    try:
        while min(longest) == 0.0:
            time.sleep(0.05)
        list(_taken(stalls))
        longest[:] = [0.0] * CLIENTS
        yield Waits(stalls, looks, longest)
    finally:
        stop.set()
        for queue in (stalls, looks):
            list(_taken(queue))  # a process ends when its queue is empty
        for process in processes:
            process.join()
