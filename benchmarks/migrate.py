"""A real ``migrate`` among clients, killed, and started ten times at once.

``clients``: twelve kinds of migrations, each against eight clients and long transactions: plain,
with a lock timeout and retries, and with ``MAX_BLOCKING``. ``kills``: ``kill -9`` at random moments
of a non-atomic migration with six operations, and a plain rerun. ``together``: ten at once, three
killed.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import re
import signal
import statistics
import sys
import tempfile
import threading
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from migrate_clients import clients
from migrate_project import APP, Project
from server import Server

ROWS = 200_000
TABLES = """
CREATE TABLE bench_other (id integer PRIMARY KEY);
INSERT INTO bench_other SELECT generate_series(1, 1000);
CREATE TABLE bench_row (id integer PRIMARY KEY, number integer, old integer, other integer,
  name text NOT NULL);
INSERT INTO bench_row SELECT i, i, i, 1 + i % 1000, md5(i::text) FROM generate_series(1, {n}) i;
CREATE TABLE bench_log (what text);
"""
MAX_BLOCKING_MS = 300
LATE_MS = MAX_BLOCKING_MS + 300
LIMITED = {"LOCK_TIMEOUT": "200ms", "RETRY_DELAY": "100ms"}


def ways(retries: int) -> dict[str, dict[str, Any]]:
    """Return the settings that are compared."""
    limited = {**LIMITED, "LOCK_RETRIES": retries}
    return {
        "plain": {"ENABLED": False},
        "lock timeout": {"MIGRATE": limited},
        "MAX_BLOCKING": {"MIGRATE": {**limited, "MAX_BLOCKING": f"{MAX_BLOCKING_MS}ms"}},
    }


ADD = 'SQL("ALTER TABLE bench_row ADD extra integer")'
KINDS = {
    "add a column": (ADD, True),
    "drop a column": ('SQL("ALTER TABLE bench_row DROP old")', True),
    "add a column with a default": (
        'SQL("ALTER TABLE bench_row ADD e int NOT NULL DEFAULT 1")',
        True,
    ),
    "rename a column": ('SQL("ALTER TABLE bench_row RENAME old TO older")', True),
    "add a foreign key": (
        'SQL("ALTER TABLE bench_row ADD FOREIGN KEY (other) REFERENCES bench_other")',
        True,
    ),
    "add a check": ('SQL("ALTER TABLE bench_row ADD CHECK (id > 0)")', True),
    "set not null": ('SQL("ALTER TABLE bench_row ALTER number SET NOT NULL")', True),
    "create an index": ('SQL("CREATE INDEX bench_i ON bench_row (old)")', True),
    "create an index concurrently": (
        'SQL("CREATE INDEX CONCURRENTLY bench_i ON bench_row (old)")',
        False,
    ),
    "update 20,000 rows": ('SQL("UPDATE bench_row SET old = 0 WHERE id <= 20000")', True),
    "rewrite (integer to bigint)": ('SQL("ALTER TABLE bench_row ALTER old TYPE bigint")', True),
    "add a column, then 2 s of Python": (f"{ADD}, python(2)", True),
}
SIX = (
    "migrations.CreateModel('Author', [('id', models.AutoField(primary_key=True)),"
    " ('name', models.TextField(default='x'))]),"
    " migrations.AddField('Author', 'code', models.TextField(default='x', db_index=True)),"
    " SQL('CREATE INDEX CONCURRENTLY bench_i ON bench_row (number)'),"
    " SQL(\"INSERT INTO bench_log SELECT 'sql' FROM pg_sleep(0.1)\"),"
    " AddIndexConcurrently('Author', models.Index(fields=['name'], name='bench_author')),"
    " SQL('CREATE INDEX CONCURRENTLY bench_j ON bench_row (name, number)')"
)
SCHEMA = """
SELECT string_agg(line, E'\\n' ORDER BY line) FROM (
  SELECT pg_get_indexdef(indexrelid) || indisvalid AS line FROM pg_index WHERE indexrelid >= 16384
    AND indrelid::regclass::text ~ 'bench'
  UNION ALL SELECT attrelid::regclass || attname || atttypid FROM pg_attribute
    WHERE attrelid::regclass::text ~ '^bench' AND attnum > 0 AND NOT attisdropped
  UNION ALL SELECT conrelid::regclass || conname FROM pg_constraint
    WHERE conrelid::regclass::text ~ '^bench'
  UNION ALL SELECT 'log ' || what FROM bench_log) found
"""


@dataclass(frozen=True)
class Run:
    """One ``migrate`` among clients."""

    stall_ms: float
    why: str
    """What the client that waited longest was seen at."""
    applied: bool
    attempts: int


class Bench:
    """A server, a project, and databases to migrate."""

    def __init__(self) -> None:
        self._server = Server(["max_connections=60"])
        self._server.load(ROWS, TABLES.format(n=ROWS))
        self._home = tempfile.TemporaryDirectory(prefix="confiture-bench-")
        self.home = Path(self._home.name)
        self.project = Project(self.home, self._server.address)
        self.project.write()
        done = self.project.migrate(f"rows_{ROWS}", {}, "confiture_history")
        assert done.wait() == 0, done.stdout.read()

    def close(self) -> None:
        """Stop the server."""
        self._server.close()
        self._home.cleanup()

    def copied(self) -> str:
        """Return a fresh copy of the database."""
        name = f"copy_{ROWS}"
        self._server.sql(
            f"DROP DATABASE IF EXISTS {name} WITH (FORCE)",
            f"CREATE DATABASE {name} TEMPLATE rows_{ROWS} STRATEGY file_copy",
        )
        return name

    def address(self, database: str) -> dict[str, Any]:
        """Return libpq's parameters of a database."""
        return {**self._server.address, "dbname": database}

    def crash(self) -> None:
        """Stop the server without a checkpoint, and start it again."""
        self._server.crash()

    def value(self, database: str, query: str) -> Any:
        """Return the one value of a query."""
        import psycopg

        with psycopg.connect(**self.address(database), autocommit=True) as connection:
            row = connection.execute(query).fetchone()
            return row[0] if row else None


def among_clients(bench: Bench, kind: str, confiture: dict[str, Any]) -> Run:
    """Migrate while clients use the table."""
    database = bench.copied()
    bench.project.write(KINDS[kind])
    with clients(bench.address(database), ROWS) as waits:
        process = bench.project.migrate(database, confiture)
        said = process.communicate(timeout=1800)[0]
        stall_ms, why = waits.explained()
    ended = len(re.findall(r"lock_timeout_retry|migration_gave_way", said))
    attempts = ended if "gave way:" in said else ended + 1  # the last one is told as well
    return Run(stall_ms, why, process.returncode == 0, attempts)


def measure_clients(bench: Bench, args: argparse.Namespace, raw: Path) -> None:
    """Add so many runs of each kind, in each way, to a file of JSON lines, round by round."""
    settings = ways(args.retries)
    for _ in range(args.runs):
        for kind in args.kinds:
            for way in args.ways:
                run = among_clients(bench, kind, settings[way])
                line = json.dumps({"kind": kind, "way": way, **asdict(run)})
                with raw.open("a") as file:
                    file.write(f"{line}\n")


def clients_table(raw: Path) -> None:
    """Print a row for each kind; below it what the waits were that are over the limit."""
    found: dict[str, dict[str, list[Run]]] = {}
    for facts in map(json.loads, raw.read_text().splitlines()):
        kind, way = facts.pop("kind"), facts.pop("way")
        found.setdefault(kind, {}).setdefault(way, []).append(Run(**facts))
    heads = " | ".join(f"{way}: longest stall, applied, attempts" for way in ways(0))
    print(f"| migration | {heads} |")
    print("| --- |" + " --- |" * len(ways(0)))
    for kind, of_kind in sorted(found.items(), key=lambda each: list(KINDS).index(each[0])):
        print(f"| {kind} | {' | '.join(_cell(of_kind.get(way, [])) for way in ways(0))} |")
    limited = [
        (kind, run) for kind, of_kind in found.items() for run in of_kind.get("MAX_BLOCKING", [])
    ]
    late = [(kind, run) for kind, run in limited if run.stall_ms > LATE_MS]
    print(f"{len(late)} of {len(limited)} runs with MAX_BLOCKING are over {LATE_MS} ms")
    for kind, run in late:
        print(f"- {kind}, {run.stall_ms:,.0f} ms: {run.why}")


def _cell(runs: list[Run]) -> str:
    if not runs:
        return ""
    applied, attempts = sum(run.applied for run in runs), [run.attempts for run in runs]
    stall = max(run.stall_ms for run in runs)
    return f"{stall:,.0f} ms, {applied} of {len(runs)}, {statistics.median(attempts):.0f}"


def killed(bench: Bench, database: str, confiture: dict[str, Any], after_s: float) -> None:
    """Run ``migrate``, and kill it so long after it has begun with the migration."""
    process = bench.project.migrate(database, confiture)
    said = ""
    while "Applying" not in said and (part := process.stdout.read(1)):
        said += part
    timer = threading.Timer(after_s, process.kill)
    timer.start()
    process.communicate(timeout=120)
    timer.join()


def kills_table(bench: Bench, runs: int) -> bool:
    """Print how many reruns ended with the same schema; return whether all did with RESUME."""
    bench.project.write((SIX, False))
    database = bench.copied()
    began = time.monotonic()
    assert bench.project.migrate(database, {}).wait() == 0
    whole, wanted = time.monotonic() - began, bench.value(database, SCHEMA)
    print("| setting | killed | same schema after a plain rerun | INVALID indexes left |")
    print("| --- | ---: | ---: | ---: |")
    good = 0
    for name, confiture in (("none", {}), ("RESUME", {"MIGRATE": {"RESUME": True}})):
        good = invalid = cut = 0
        for _ in range(runs):
            database = bench.copied()
            killed(bench, database, confiture, random.uniform(0, whole / 2))
            done = f"SELECT count(*) FROM django_migrations WHERE app = '{APP}'"
            cut += bench.value(database, done) == 0
            bench.project.migrate(database, confiture).communicate(timeout=120)
            good += bench.value(database, SCHEMA) == wanted
            invalid += bench.value(database, "SELECT count(*) FROM pg_index WHERE NOT indisvalid")
        print(
            f"| {name} | {cut} of {runs} before the end | {good} of {runs} | {invalid} |",
            flush=True,
        )
    return good == runs


def together_table(bench: Bench, runs: int) -> bool:
    """Start ten at once and kill three holders; print and return whether each ran once."""
    step = ("SQL(\"INSERT INTO bench_log VALUES ('{}')\"), SQL('SELECT pg_sleep(0.3)')", True)
    bench.project.write(*((step[0].format(number), True) for number in range(1, 7)))
    holder = (
        "SELECT a.application_name FROM pg_locks l JOIN pg_stat_activity a USING (pid)"
        " WHERE locktype = 'advisory' AND granted AND objsubid = 2"
        " AND a.datname = current_database()"
    )
    good = 0
    for _ in range(runs):
        database = bench.copied()
        processes = [bench.project.migrate(database, {}) for _ in range(10)]
        dead: set[int] = set()
        while len(dead) < 3 and any(each.poll() is None for each in processes):
            name = bench.value(database, holder) or ""
            pid = int(name.rpartition(":")[2] or 0)
            if pid and pid not in dead:
                os.kill(pid, signal.SIGKILL)
                dead.add(pid)
            time.sleep(0.05)
        codes = {
            each.pid: (each.communicate(timeout=120), each.returncode)[1] for each in processes
        }
        log = bench.value(database, "SELECT string_agg(what, ',' ORDER BY what) FROM bench_log")
        ended = all(code == 0 for pid, code in codes.items() if pid not in dead)
        good += ended and log == "1,2,3,4,5,6"
    print(f"ten at once, three killed: each migration applied once in {good} of {runs} runs")
    return good == runs


def main() -> int:
    """Run what is asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", nargs="*", default=["clients", "kills", "together"])
    parser.add_argument("--runs", type=int, default=20, help="of each kind among clients")
    parser.add_argument("--retries", type=int, default=20, help="LOCK_RETRIES among clients")
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--together", type=int, default=10)
    parser.add_argument("--kinds", nargs="+", default=list(KINDS), choices=KINDS)
    parser.add_argument("--ways", nargs="+", default=list(ways(0)), choices=ways(0))
    parser.add_argument("--raw", type=Path, help="keep the runs among clients in this file")
    parser.add_argument("--from", type=Path, dest="found", help="print the table of such a file")
    args = parser.parse_args()
    if args.found:
        clients_table(args.found)
        return 0
    bench = Bench()
    try:
        fine = True
        if "clients" in args.what:
            raw = args.raw or bench.home / "clients.jsonl"
            measure_clients(bench, args, raw)
            clients_table(raw)
        if "kills" in args.what:
            fine &= kills_table(bench, args.kills)
        if "together" in args.what:
            fine &= together_table(bench, args.together)
        return 0 if fine else 1
    finally:
        bench.close()


if __name__ == "__main__":
    sys.exit(main())
