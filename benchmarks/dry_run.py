"""What a dry run costs: the whole command against plain ``migrate``, in alternating runs.

Wall and CPU seconds and peak memory of the client, and the statements that the server received
(each is a round trip), counted in their own run. CPU seconds and round trips can be relied on
where other work runs on the same cores; of wall seconds, only the ratios within a round.

wagtail is installed into ``.venv/bench-dry-run`` by the first run.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from dry_run_project import write_made_up, write_wagtail
from server import ROOT, Server

VENV = ROOT / ".venv" / "bench-dry-run"
BYTECODE = VENV / "bytecode"
"""Compiled modules, as pip leaves them where a package is installed; the first run fills it."""
INSTALLED = "wagtail==8.0.*", "psycopg[binary]==3.3.*", "django==5.2.*"
SERVER = "fsync=off", "synchronous_commit=off", "full_page_writes=off"
LOGGED = "log_line_prefix=%p ", "max_locks_per_transaction=4096"
STATEMENT = re.compile(r"^(\d+) LOG:  (?:statement|execute [^:]*):", re.MULTILINE)


@dataclass(frozen=True)
class Way:
    """One command that is compared."""

    command: tuple[str, ...]
    installed: bool = True


PLAIN = "migrate, not installed"
DRY = "migrate_dryrun"
WAYS = {
    PLAIN: Way(("migrate",), installed=False),
    "migrate, installed": Way(("migrate",)),
    "migrate_dryrun --no-running-code": Way(("migrate_dryrun", "--no-running-code")),
    DRY: Way(("migrate_dryrun",)),
}


@dataclass(frozen=True)
class Run:
    """One run of a command."""

    wall_s: float
    cpu_s: float
    peak_mb: float


@dataclass(frozen=True)
class Trips:
    """What the server received in one run."""

    main: int
    """On the connection that migrates."""
    others: int


class Project:
    """A project on its own database, copied for each run."""

    def __init__(self, server: Server, case: str, rows: int) -> None:
        self.case = case
        self._server = server
        self._home = tempfile.TemporaryDirectory(prefix="confiture-bench-")
        home = Path(self._home.name)
        if case.isdecimal():
            write_made_up(home, int(case))
        else:
            write_wagtail(home)
        self._template = f"template_{case}"
        server.sql(f"CREATE DATABASE {self._template} TEMPLATE template0")
        if case == "middle":
            script = Path(__file__).with_name("dry_run_project.py")
            with self._started(WAYS[PLAIN], self._template, str(script), str(rows)) as process:
                print(process.communicate()[0].strip(), file=sys.stderr)

    def close(self) -> None:
        """Remove its files."""
        self._home.cleanup()

    def run(self, way: Way) -> Run:
        """Run one command on a fresh copy."""
        with self._copy() as database:
            began = time.perf_counter()
            with self._django(way, database) as process:
                said = process.stdout.read()
                _pid, status, usage = os.wait4(process.pid, 0)
                wall_s = time.perf_counter() - began
                process.returncode = os.waitstatus_to_exitcode(status)
            if process.returncode not in (0, 3):
                sys.exit(f"{self.case}: {' '.join(way.command)} failed:\n{said[-3000:]}")
        return Run(wall_s, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024)

    def trips(self, way: Way) -> Trips:
        """Count what the server receives."""
        log = self._server.home / "pg" / "log"
        with self._copy() as database:
            before = log.stat().st_size
            with self._django(way, database, PGOPTIONS="-c log_statement=all") as process:
                process.communicate()
            with log.open("rb") as file:
                file.seek(before)
                text = file.read().decode(errors="replace")
        by_session = Counter(STATEMENT.findall(text))
        main = max(by_session.values())
        return Trips(main, by_session.total() - main)

    def migrations(self) -> int:
        """Return how many a dry run rehearses."""
        with (
            self._copy() as database,
            self._django(Way(("showmigrations", "--plan")), database) as process,
        ):
            return process.communicate()[0].count("[ ]")

    def profile(self, way: Way, path: Path) -> None:
        """Write a profile of one run."""
        with (
            self._copy() as database,
            self._started(
                way, database, "-m", "cProfile", "-o", str(path), "-m", "django", *way.command
            ) as process,
        ):
            process.communicate()

    @contextmanager
    def _copy(self) -> Iterator[str]:
        name = "copy"
        self._server.sql(
            f"DROP DATABASE IF EXISTS {name} WITH (FORCE)",
            f"CREATE DATABASE {name} TEMPLATE {self._template} STRATEGY file_copy",
            "CHECKPOINT",
        )
        yield name

    def _django(self, way: Way, database: str, **environment: str) -> subprocess.Popen[str]:
        arguments = ["-m", "django", *way.command, "--skip-checks"]
        return self._started(way, database, *arguments, **environment)

    def _started(
        self, way: Way, database: str, *arguments: str, **environment: str
    ) -> subprocess.Popen[str]:
        address = {name.upper(): str(value) for name, value in self._server.address.items()}
        return subprocess.Popen(
            [VENV / "bin" / "python", *arguments],
            cwd=self._home.name,
            env={
                **os.environ,
                "PYTHONPATH": f"{ROOT}{os.pathsep}{self._home.name}",
                "PYTHONDONTWRITEBYTECODE": "",
                "PYTHONPYCACHEPREFIX": str(BYTECODE),
                "DJANGO_SETTINGS_MODULE": "bench_settings",
                "BENCH": json.dumps({**address, "NAME": database}),
                "BENCH_APPS": json.dumps(["django_confiture"] * way.installed),
                "BENCH_CONFITURE": "{}",
                **environment,
            },
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )


def install() -> None:
    """Make the environment that the commands run in."""
    done = VENV / ".done"
    if done.exists():
        return
    subprocess.run([sys.executable, "-m", "venv", VENV], check=True)
    pip = [VENV / "bin" / "python", "-m", "pip", "install", "--quiet"]
    subprocess.run([*pip, *INSTALLED, "--editable", ROOT], check=True)
    done.touch()


def measure(project: Project, ways: dict[str, Way], pairs: int) -> dict[str, list[Run]]:
    """Run all ways in turn, in another order each round."""
    runs: dict[str, list[Run]] = {name: [] for name in ways}
    for number in range(pairs):
        names = list(ways) if number % 2 == 0 else list(ways)[::-1]
        for name in names:
            runs[name].append(project.run(ways[name]))
    return runs


def print_rows(project: Project, ways: dict[str, Way], pairs: int) -> dict[str, float]:
    """Print a row for each way; return the seconds of CPU that each adds."""
    migrations = project.migrations()
    received = {name: project.trips(way) for name, way in ways.items()}  # also fills caches
    runs = measure(project, ways, pairs)
    plain = runs[PLAIN]
    added = {}
    for name, each in runs.items():
        trips = received[name]
        paired = list(zip(each, plain, strict=True))
        cells = [
            f"{median(run.wall_s for run in each):.2f}",
            f"{median(run.wall_s / base.wall_s for run, base in paired):.3f}",
            f"{median(run.cpu_s for run in each):.2f}",
            f"{median(run.cpu_s / base.cpu_s for run, base in paired):.3f}",
            f"{trips.main:,} + {trips.others:,}",
            f"{(trips.main - received[PLAIN].main) / migrations:.1f}",
            f"{median(run.peak_mb for run in each):.0f}",
            f"{median(run.peak_mb / base.peak_mb for run, base in paired):.2f}",
        ]
        print(f"| {project.case}, {migrations} migrations | {name} | {' | '.join(cells)} |")
        added[name] = median(run.cpu_s - base.cpu_s for run, base in paired)
    sys.stdout.flush()
    return added


HEAD = """
| project | command | wall s | ratio | CPU s | ratio | round trips, main + others \
| added a migration | peak MB | ratio |
| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |
"""


def main() -> None:
    """Measure what is asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "cases",
        nargs="*",
        default=["wagtail", "middle", "80", "160", "320"],
        help="wagtail (from empty), middle (the second half, with rows), a number of migrations",
    )
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--rows", type=int, default=2000, help="in each table, for middle")
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=list(WAYS))
    parser.add_argument("--profile", type=Path, help="write profiles of dry runs here instead")
    args = parser.parse_args()
    install()
    server = Server([*SERVER, *LOGGED])
    added: dict[str, dict[str, float]] = {}
    try:
        print(HEAD.strip())
        for case in args.cases:
            with closing(Project(server, case, args.rows)) as project:
                if args.profile:
                    project.profile(WAYS[args.ways[-1]], args.profile / f"{case}.prof")
                    continue
                ways = {name: WAYS[name] for name in WAYS if name in {PLAIN, *args.ways}}
                for name, seconds in print_rows(project, ways, args.pairs).items():
                    added.setdefault(name, {})[case] = seconds
    finally:
        server.close()
    for name, seconds in added.items():
        if "migrate_dryrun" in name and {"80", "320"} <= seconds.keys():
            times = seconds["320"] / seconds["80"]
            print(f"\nWhat {name} adds at 320 migrations is {times:.2f} times that at 80 (CPU).")


if __name__ == "__main__":
    main()
