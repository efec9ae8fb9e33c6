"""Backfills in a storm: each row is counted once, whatever happens to four workers at random.

They are killed, or frozen, often for longer than their lease, and woken in the middle of another's
batch; all leases jump by an hour, as they do when the clock does; sessions are terminated;
and two clients change rows and lock them in an order that may deadlock. Each round has a table
of its own, and a seed that it prints.
"""

from __future__ import annotations

import argparse
import random
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable

import psycopg
from backfill import PATH, Bench, wait_for

OPTIONS = {
    "LOCK_TIMEOUT": "300ms",
    "STATEMENT_TIMEOUT": "1s",
    "LEASE": "2s",
    "WORKERS": 1,
    "MIN": 50,
    "MAX": 500,
    "ATTEMPTS": 50,
}
WORKERS = 4
WAYS = ("Counting", "CountingByProcess")
STATE = "SELECT state, last_error FROM confiture_backfills_backfillrun"
JUMP = (
    "UPDATE confiture_backfills_backfillrange SET leased_until = leased_until + interval '{} hour'"
)
TERMINATE = (
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
    " WHERE query ~ 'bench_row' AND application_name <> 'site' AND pid <> pg_backend_pid()"
)


class Storm:
    """Four workers on one backfill, and what happens to them."""

    def __init__(self, bench: Bench, name: str) -> None:
        self._bench = bench
        self._command = ("confiture_backfills", "run", PATH + name)
        self._alive: list[subprocess.Popen[bytes]] = []
        self.happened: Counter[str] = Counter()

    def blow(self) -> None:
        """Let something happen every now and then until the backfill has ended."""
        actions: dict[str, Callable[[], object]] = {
            "killed": self._kill,
            "frozen": self._freeze,
            "woken": self._wake,
            "clock forward": lambda: self._bench.sql(JUMP.format("1")),
            "clock back": lambda: self._bench.sql(JUMP.format("-1")),
            "session terminated": lambda: self._bench.sql(TERMINATE),
        }
        until = time.monotonic() + 60
        while not self._has_ended() and time.monotonic() < until:
            self._start()
            time.sleep(random.uniform(0.05, 0.6))
            what = random.choices([*actions], weights=[3, 4, 3, 1, 1, 2])[0]
            actions[what]()
            self.happened[what] += 1

    def calm(self) -> None:
        """Wake who is frozen, and let one of them end it."""
        self._wake()
        while not self._has_ended():
            self._start()
            time.sleep(0.1)
        for each in self._alive:
            each.wait(60)

    def end(self) -> None:
        """Leave no process behind."""
        for each in self._alive:
            each.kill()
            each.wait()

    def _has_ended(self) -> bool:
        return self._bench.sql(STATE)[:1] not in ([], [("running", "")], [("queued", "")])

    def _start(self) -> None:
        self._alive = [each for each in self._alive if each.poll() is None]
        while len(self._alive) < WORKERS:
            self._alive.append(self._bench.started(*self._command, **OPTIONS))

    def _kill(self) -> None:
        random.choice(self._alive).kill()

    def _freeze(self) -> None:
        random.choice(self._alive).send_signal(signal.SIGSTOP)

    def _wake(self) -> None:
        for each in self._alive:
            each.send_signal(signal.SIGCONT)


def site(bench: Bench, stop: threading.Event, deadlocks: list[int]) -> None:
    """Change pairs of rows, each in any order, with a pause between the two."""
    address = {**bench.server.address, "dbname": "bench", "application_name": "site"}
    with psycopg.connect(**address) as connection:
        while not stop.is_set():
            try:
                for key in random.sample(range(1, bench.n + 1), 2):
                    connection.execute("UPDATE bench_row SET number = -id WHERE id = %s", [key])
                    time.sleep(0.02)
                connection.commit()
            except psycopg.Error:
                connection.rollback()
                deadlocks.append(1)


def round_of(bench: Bench, name: str, seed: int) -> bool:
    """Run one storm; print what happened, and return whether each row was counted once."""
    random.seed(seed)
    bench.new_database("bench")
    stop, lost = threading.Event(), []
    clients = [threading.Thread(target=site, args=(bench, stop, lost)) for _ in range(2)]
    storm = Storm(bench, name)
    for client in clients:
        client.start()
    try:
        storm.blow()
        storm.calm()
    finally:
        stop.set()
        storm.end()
        for client in clients:
            client.join()
    wait_for(lambda: bool(bench.sql(STATE)))
    ((state, error),) = bench.sql(STATE)
    found = bench.counters()
    happened = ", ".join(f"{count} {what}" for what, count in sorted(storm.happened.items()))
    print(f"{name}, seed {seed}: {state} {error} {found}; {happened}, {len(lost)} clients' errors")
    return state == "completed" and found == {1: bench.n}


def main() -> int:
    """Run so many rounds of each way; return 1 where a row was left out or counted twice."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5, help="of each way (5)")
    parser.add_argument("--rows", type=int, default=60_000)
    parser.add_argument("--seed", type=int, default=random.randrange(10**6))
    args = parser.parse_args()
    bench = Bench(args.rows, deadlock_timeout="100ms", max_connections="100")
    try:
        seeds = range(args.seed, args.seed + args.rounds)
        rounds = [round_of(bench, name, seed) for seed in seeds for name in WAYS]
    finally:
        bench.close()
    print(f"{sum(rounds)} of {len(rounds)} rounds: each row counted once")
    return 0 if all(rounds) else 1


if __name__ == "__main__":
    sys.exit(main())
