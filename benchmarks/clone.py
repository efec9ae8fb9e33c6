"""How long a copy of a database takes, by strategy and size; see README.md.

    python benchmarks/clone.py [--bin /usr/lib/postgresql/15/bin] [MB ...]

It starts its own server with ``fsync`` on, as production has it, and drops it at the end.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
from contextlib import closing, contextmanager
from pathlib import Path
from time import perf_counter, sleep
from typing import TYPE_CHECKING, Any

import psycopg

if TYPE_CHECKING:
    from collections.abc import Iterator

ROUNDS = 3


def main() -> None:
    """Print a table for the sizes given, in MB."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--bin", type=Path)
    parser.add_argument("sizes", nargs="*", type=int, default=[0, 64, 256, 1024])
    options = parser.parse_args()
    with server(options.bin or _embedded()) as address:
        version = _one(address, "SHOW server_version")
        print(f"PostgreSQL {version}, medians of {ROUNDS}")
        print("source | strategy | dirty buffers | copy | WAL | a new connection waited at most")
        for size in options.sizes:
            make(address, size)
            for strategy in strategies(address):
                for dirty in (0, 256):
                    rounds = [copied(address, strategy, dirty) for _ in range(ROUNDS)]
                    seconds, wal, waited = (statistics.median(x) for x in zip(*rounds, strict=True))
                    print(
                        f"{_size(address)} | {strategy or 'the only one'} | {dirty} MB |"
                        f" {seconds:.2f} s | {wal / 1e6:.0f} MB | {waited:.2f} s",
                        flush=True,
                    )


def strategies(address: dict[str, Any]) -> list[str]:
    """Return what the server has."""
    version = int(_one(address, "SHOW server_version_num"))
    known = [] if version < 150000 else ["wal_log", "file_copy"]
    return [*known, "file_copy, clone"] if version >= 180000 else known or [""]


def make(address: dict[str, Any], megabytes: int) -> None:
    """Create the source, of about that size."""
    with _connected(address) as conn:
        conn.execute("DROP DATABASE IF EXISTS bench_source")
        conn.execute("CREATE DATABASE bench_source")
    with _connected({**address, "dbname": "bench_source"}) as conn:
        conn.execute(
            "CREATE TABLE filler AS SELECT i AS id, repeat(md5(i::text), 30) AS text"
            " FROM generate_series(1, %s) i",
            [megabytes * 1000],
        )
        conn.execute("CHECKPOINT")
    sleep(0.5)


def copied(address: dict[str, Any], strategy: str, dirty: int) -> tuple[float, float, float]:
    """Return seconds, bytes of WAL, and how long a client that connects meanwhile had to wait.

    ``dirty`` is how many MB another database has changed and not written yet: file_copy begins
    with a checkpoint of the whole server.
    """
    with _connected(address) as conn:
        conn.execute("DROP DATABASE IF EXISTS bench_copy")
        conn.execute("DROP TABLE IF EXISTS busy")
        conn.execute("CHECKPOINT")
        if dirty:
            conn.execute(
                "CREATE TABLE busy AS SELECT i AS id, repeat(md5(i::text), 30) AS text"
                " FROM generate_series(1, %s) i",
                [dirty * 1000],
            )
        name, _comma, method = strategy.partition(", ")
        if method:
            conn.execute(f"SET file_copy_method = {method}")
        waits: list[float] = []
        stop = threading.Event()
        thread = threading.Thread(target=_connect_again_and_again, args=(address, waits, stop))
        before = _lsn(conn)
        started = perf_counter()
        thread.start()
        conn.execute(
            "CREATE DATABASE bench_copy TEMPLATE bench_source"
            + (f" STRATEGY {name}" if name else "")
        )
        seconds = perf_counter() - started
        wal = _lsn(conn) - before
        stop.set()
        thread.join()
        return seconds, wal, max(waits, default=0.0)


def _connect_again_and_again(
    address: dict[str, Any], waits: list[float], stop: threading.Event
) -> None:
    sleep(0.05)  # a session that is there before would make the copy impossible
    while not stop.is_set():
        started = perf_counter()
        with closing(psycopg.connect(**{**address, "dbname": "bench_source"})):
            waits.append(perf_counter() - started)
        sleep(0.05)


@contextmanager
def server(bin_dir: Path) -> Iterator[dict[str, Any]]:
    """Start a server with the settings of a fresh installation."""
    home = Path(tempfile.mkdtemp(prefix="confiture-bench-"))
    data = home / "data"
    run_as = ["runuser", "-u", "nobody", "--"] if _is_root() else []
    try:
        if run_as:
            shutil.chown(home, "nobody")
        initdb = [
            *run_as,
            str(bin_dir / "initdb"),
            "-D",
            str(data),
            "-U",
            "postgres",
            "-A",
            "trust",
        ]
        subprocess.run(initdb, check=True, stdout=subprocess.DEVNULL)
        settings = f"-c listen_addresses= -c unix_socket_directories={home} -c shared_buffers=1GB"
        control = [*run_as, str(bin_dir / "pg_ctl"), "-D", str(data), "-w"]
        subprocess.run(
            [*control, "-l", str(home / "log"), "-o", settings, "start"],
            check=True,
            stdout=subprocess.DEVNULL,
        )
        try:
            yield {"host": str(home), "user": "postgres", "dbname": "postgres"}
        finally:
            subprocess.run(
                [*control, "-m", "immediate", "stop"], check=True, stdout=subprocess.DEVNULL
            )
    finally:
        shutil.rmtree(home, ignore_errors=True)


def _embedded() -> Path:
    sys.path.insert(0, str(Path(__file__).parent.parent / "testproject"))
    import local_postgres

    server_ = local_postgres._Server.find()
    local_postgres.database("confiture_bench")  # makes copies where another user can read them
    copies = server_.home / "copy" / "bin"
    return copies if copies.is_dir() else server_.bin_dir


def _is_root() -> bool:
    return os.getuid() == 0


def _connected(address: dict[str, Any]) -> Any:
    return closing(psycopg.connect(**address, autocommit=True))


def _one(address: dict[str, Any], query: str) -> str:
    with _connected(address) as conn:
        row: Any = conn.execute(query).fetchone()
        return str(row[0])


def _size(address: dict[str, Any]) -> str:
    return _one(address, "SELECT pg_size_pretty(pg_database_size('bench_source'))")


def _lsn(conn: psycopg.Connection[Any]) -> int:
    query = "SELECT pg_wal_lsn_diff(pg_current_wal_lsn(), '0/0')::bigint"
    row: Any = conn.execute(query).fetchone()
    return int(row[0])


if __name__ == "__main__":
    main()
