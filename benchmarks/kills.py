"""Kill the command, and its server, at random moments: what is left, and for how long.

Ends with 1 where anything is left that should not be.
"""

from __future__ import annotations

import argparse
import os
import random
import re
import signal
import statistics
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from kills_project import DATABASE, OTHER, TABLES, make_project
from server import ROOT, Server, local_postgres

from tests.support.dumps import Dump, dump

GONE_WITHIN_S = 10

PROCESS, SERVER_PROCESS, POSTMASTER = "process", "server process", "postmaster"

_DONE = re.compile(r"Everything was rolled back\.|It ran on a clone, which was dropped\.")
"""The report's last words: all that the run had to do is done."""


@dataclass
class Case:
    """One kill, and what came of it."""

    what: str
    clone: bool
    after_s: float
    gone_s: float = 0.0
    code: int | None = None
    late: bool = False
    """Whether the run had ended before the kill, which says nothing about kills."""
    left: list[str] = field(default_factory=list)
    """Copies that the kill left."""
    moved: bool = False
    """Whether a sequence stands elsewhere than before."""
    wrong: list[str] = field(default_factory=list)


class Bench:
    """The server, the project, and what both databases have to stay."""

    def __init__(self, rows: int) -> None:
        self.server = Server([])
        self._address = {
            **self.server.address,
            "dbname": "postgres",
            "application_name": "kills",  # or our own session that ends might be taken for one
        }
        self.project = make_project(self.server.home / "project", self.server.address)
        for database in (DATABASE, OTHER):
            self.server.sql(f"CREATE DATABASE {database}")
            self.server.sql(TABLES.format(rows=rows), database=database)
            self.server.sql("VACUUM (ANALYZE, FREEZE)", database=database)
        self.before: Dump = dump(self.server.address)
        self.seconds = {clone: self._duration(clone=clone) for clone in (False, True)}
        self.before = dump(self.server.address)

    def start(self, *args: str) -> subprocess.Popen[str]:
        environment = {
            **os.environ,
            "DJANGO_SETTINGS_MODULE": "kills_settings",
            "PYTHONPATH": os.pathsep.join([str(self.project), str(ROOT)]),
        }
        return subprocess.Popen(
            [sys.executable, "-W", "error", "-m", "django", "migrate_dryrun", *args],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=environment,
            cwd=self.project,
        )

    def _duration(self, *, clone: bool) -> float:
        """Return how long the command takes if it is not killed, the second time."""
        for _ in range(2):
            started = time.monotonic()
            process = self.start(*["--clone"] * clone)
            out, err = process.communicate()
            seconds = time.monotonic() - started
            if process.returncode != 0 or self.different():
                sys.exit(f"the command itself is wrong: {self.different()}\n{out}\n{err}")
        return seconds

    def sessions(self) -> list[tuple[int, str]]:
        """Return who is connected besides us."""
        import psycopg

        with psycopg.connect(**self._address) as connection:
            return connection.execute(
                "SELECT pid, application_name FROM pg_stat_activity WHERE pid <> pg_backend_pid()"
                " AND backend_type = 'client backend' AND application_name <> 'kills'"
            ).fetchall()

    def ask(self, query: str) -> list[Any]:
        import psycopg

        with psycopg.connect(**self._address) as connection:
            cursor = connection.execute(query)
            return cursor.fetchall() if cursor.description else []

    def wait_until_alone(self) -> float:
        """Return after how many seconds we were the only session; more than the limit if never."""
        started = time.monotonic()
        while self.sessions() and time.monotonic() - started < GONE_WITHIN_S:
            time.sleep(0.02)
        return time.monotonic() - started

    def different(self) -> list[str]:
        """Return the databases that are not as they were."""
        now = dump(self.server.address)
        names = sorted({*self.before.texts, *now.texts})
        return [n for n in names if self.before.texts.get(n) != now.texts.get(n)]

    def look(self, case: Case) -> None:
        """Compare everything with what was before, and let the next run clear what is left."""
        case.gone_s = self.wait_until_alone()
        for name, found in (
            ("sessions", self.sessions()),
            ("prepared transactions", self.ask("SELECT gid FROM pg_prepared_xacts")),
            ("advisory locks", self.ask("SELECT * FROM pg_locks WHERE locktype = 'advisory'")),
            ("databases that differ", self.different()),
        ):
            if found:
                case.wrong.append(f"{name}: {found}")
        positions = dump(self.server.address).positions
        case.moved = positions != self.before.positions
        if case.moved and case.clone:
            case.wrong.append("a sequence moved, and it was a copy")
        self.before = Dump(self.before.texts, positions)
        case.left = self.clones()
        if case.left:
            self._clear(case)

    def clones(self) -> list[str]:
        rows = self.ask("SELECT datname FROM pg_database WHERE datname ~ '^confiture_clone_'")
        return [name for (name,) in rows]

    def _clear(self, case: Case) -> None:
        process = self.start("contenttypes", "--clone")
        _out, err = process.communicate()
        unnamed = [name for name in case.left if f"Dropped {name}," not in err]
        if process.returncode or unnamed or self.clones():
            case.wrong.append(f"next run, code {process.returncode}: {unnamed} {err}")

    def kill(self, what: str, *, clone: bool) -> list[Case]:
        """Kill at a random moment; again, at an earlier one, where the run had ended by then."""
        cases: list[Case] = []
        within = self.seconds[clone]
        while not cases or cases[-1].late:
            case = Case(what, clone, random.uniform(0, within))
            kill = self._kill_process if what == PROCESS else self._kill_server
            kill(case)
            self.look(case)
            cases.append(case)
            within = case.after_s
        return cases

    def _kill_process(self, case: Case) -> None:
        process = self.start(*["--clone"] * case.clone)
        time.sleep(case.after_s)
        process.kill()
        out, err = process.communicate()
        case.code = process.returncode
        case.late = case.code == 0
        if case.code not in (0, -signal.SIGKILL):
            case.wrong.append(f"code {case.code}: {out}{err}")

    def _kill_server(self, case: Case) -> None:
        """Kill the server, or a process of it; the command has to end by itself."""
        postmaster = case.what == POSTMASTER
        # After a crash, a sequence goes on from what was last written ahead for it.
        self.ask("CHECKPOINT")
        process = self.start(*["--clone"] * case.clone)
        time.sleep(case.after_s)
        checkpointer = self._checkpointer()
        os.kill(self._victim(postmaster=postmaster), signal.SIGKILL)
        try:
            out, err = process.communicate(timeout=60)
        except subprocess.TimeoutExpired:
            process.kill()
            out, err = process.communicate()
            case.wrong.append("the command did not end by itself")
        case.code = process.returncode
        if "Traceback" in out + err:
            case.wrong.append(f"a traceback: {out}{err}")
        case.late = case.code == 0 and bool(_DONE.search(" ".join(out.split())))
        if case.code != 2 and not case.late:
            case.wrong.append(f"code {case.code}: {out}{err}")
        self.restart(checkpointer, postmaster=postmaster)

    def _victim(self, *, postmaster: bool) -> int:
        main = int((self.server._server.data / "postmaster.pid").read_text().splitlines()[0])
        if postmaster:
            return main
        return random.choice([pid for pid, _name in self.sessions()] or [self._checkpointer()])

    def _checkpointer(self) -> int:
        """Return the checkpointer's pid, a new one after a recovery; 0 if there is none yet."""
        query = "SELECT pid FROM pg_stat_activity WHERE backend_type = 'checkpointer'"
        return int(next(iter(self.ask(query)), [0])[0])

    def restart(self, before: int, *, postmaster: bool) -> None:
        """Start the server again where it is down, or wait until it has recovered."""
        import psycopg

        server = self.server._server
        with server._open("log") as log:
            # Locked as long as a process of the server lives, which is longer than the postmaster.
            while postmaster and not local_postgres._try_lock(log):
                time.sleep(0.05)
        if postmaster:  # whose process may be a zombie, which counts as alive
            for name in ("postmaster.pid", ".s.PGSQL.5432.lock"):
                (server.data / name).unlink(missing_ok=True)
            server.use("bench")
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            with suppress(psycopg.Error):
                if self._checkpointer() not in (0, before):
                    return
            time.sleep(0.1)
        sys.exit("the server does not come back")


def told(cases: list[Case]) -> None:
    """Print the table; kills that came too late are only counted."""
    print("| killed | mode | times | sessions gone after, median / worst | copies left, dropped "
          "by the next run | sequences moved | exit codes | too late | wrong |")  # fmt: skip
    print("| --- | --- | ---: | ---: | ---: | ---: | --- | ---: | ---: |")
    for what in dict.fromkeys(case.what for case in cases):
        for clone in (False, True):
            all_ = [case for case in cases if case.what == what and case.clone is clone]
            some = [case for case in all_ if not case.late]
            if not some:
                continue
            gone = [case.gone_s for case in some]
            codes = sorted({case.code for case in some if case.code is not None})
            print(
                f"| {what} | {'--clone' if clone else 'rolled back'} | {len(some)} "
                f"| {statistics.median(gone):.1f} / {max(gone):.1f} s "
                f"| {sum(len(case.left) for case in some)} | {sum(case.moved for case in some)} "
                f"| {', '.join(map(str, codes))} | {len(all_) - len(some)} "
                f"| {sum(bool(case.wrong) for case in all_)} |"
            )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--process", type=int, default=50, help="kills of the command")
    parser.add_argument("--server", type=int, default=10, help="kills of the server")
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=None)
    args = parser.parse_args()
    seed = args.seed if args.seed is not None else random.randrange(10**6)
    random.seed(seed)
    bench = Bench(args.rows)
    cases: list[Case] = []
    try:
        print(f"seed {seed}; one run takes {bench.seconds[False]:.1f} s, "
              f"with --clone {bench.seconds[True]:.1f} s\n", flush=True)  # fmt: skip
        for number in range(args.process + args.server):
            clone = number % 2 == 1
            server = POSTMASTER if (number - args.process) % 4 < 2 else SERVER_PROCESS
            killed = bench.kill(PROCESS if number < args.process else server, clone=clone)
            cases += killed
            for case in killed:
                for line in case.wrong:
                    print(f"{case.what}, {clone=}, after {case.after_s:.2f} s: {line}", flush=True)
        told(cases)
    finally:
        bench.server.close()
    sys.exit(any(case.wrong for case in cases))


if __name__ == "__main__":
    main()
