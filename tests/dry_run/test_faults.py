"""The server restarts, refuses or runs out of something: said in a line, and nothing is left."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.dry_run.test_process import Project, wait_for
from tests.support.dumps import dump
from tests.support.server import OwnServer, own_server

__all__ = ["own_server"]

DATABASE = "faults"

TABLES = """
CREATE TABLE dry_row AS SELECT i AS id, md5(i::text) AS name FROM generate_series(1, 20000) i;
"""

CASE = """
import time
from django.db import connection, migrations


def code(apps, schema_editor):
    with connection.cursor() as cursor:
        {code}


class Migration(migrations.Migration):
    dependencies = {after!r}
    operations = [migrations.RunPython(code)]
"""

FIRST = "cursor.execute(\"UPDATE dry_row SET name = 'LEAK'\")"
IN_A_STATEMENT = "cursor.execute('SELECT pg_sleep(30)')"
IN_PYTHON = "cursor.execute('SELECT 42'); time.sleep({}); cursor.execute('SELECT 43')"


class Faulty:
    """A project of two migrations, of which the second meets with a fault."""

    def __init__(self, directory: Path, server: OwnServer) -> None:
        self.server = server
        self.project = Project(directory, DATABASE)
        self.package = directory / "cases_migrations"
        self.write("0001_first", FIRST, [])

    def write(self, name: str, code: str, after: list[Any]) -> None:
        (self.package / f"{name}.py").write_text(CASE.format(code=code, after=after))

    def add(self, code: str) -> None:
        self.write("0002_case", code, [("cases", "0001_first")])

    def configure(self, **dry_run: Any) -> None:
        with (self.project.directory / "dry_settings.py").open("a") as settings:
            settings.write(f'\nCONFITURE = {{"DRY_RUN": {dry_run!r}}}\n')

    def ran(self, *args: str, code: int) -> dict[str, Any]:
        """Run the command to its end; return its report."""
        return told(self.project.start("cases", "--format", "json", *args), code)

    def started(self, *args: str, until: str) -> subprocess.Popen[str]:
        """Start the command and return once one of its sessions has sent a statement."""
        process = self.project.start("cases", "--format", "json", *args)

        def there() -> bool:
            assert process.poll() is None, process.communicate()
            return bool(self.sessions(f"query LIKE '%{until}%'"))

        wait_for(there, 30)
        return process

    def sessions(self, condition: str = "true") -> list[Any]:
        return self.server.query(
            "SELECT pid, application_name, query FROM pg_stat_activity WHERE"
            f" backend_type = 'client backend' AND pid <> pg_backend_pid() AND {condition}"
        )

    def restart(self, mode: str) -> None:
        server = self.server._server
        with server._open("log") as log:
            server._run(log, "pg_ctl", "restart", "-D", server.data, "-w", "-m", mode)


def told(process: subprocess.Popen[str], code: int) -> dict[str, Any]:
    """Wait for the end; return the report."""
    out, err = process.communicate(timeout=60)
    assert process.returncode == code, (process.returncode, out, err)
    assert "Traceback" not in out + err
    document: dict[str, Any] = json.loads(out)
    return document


def stopped(document: dict[str, Any]) -> str:
    """Return the line that says why the second migration never came to its end."""
    first, second = document["migrations"]
    assert first["outcome"] == "passed"
    assert [table["rows_written"] for table in first["tables"]] == [20000]
    assert second["outcome"] == "not_run"
    message: str = second["error"]["message"]
    return message.partition("\n")[0]


@contextmanager
def faulty(server: OwnServer, directory: Path, **settings: int | str) -> Iterator[Faulty]:
    """Start the server with settings; at the end see that nothing is left."""
    with server.started(**settings):
        databases = [name for (name,) in server.query("SELECT datname FROM pg_database")]
        if DATABASE not in databases:
            server.query_alone(f"CREATE DATABASE {DATABASE}")
            with server.connect(dbname=DATABASE) as connection:
                connection.execute(TABLES)
        before = dump(server.address)
        made = Faulty(directory, server)
        yield made
        wait_for(lambda: not made.sessions(), 10)
        after = dump(server.address)
        assert after.texts == before.texts
        assert server.query("SELECT * FROM pg_prepared_xacts") == []
        left = server.query("SELECT datname FROM pg_database WHERE datname ~ '^confiture'")
        for (name,) in left:
            server.query_alone(f"DROP DATABASE {name}")
        assert left == []


@pytest.fixture
def fault(own_server: OwnServer, tmp_path: Path) -> Iterator[Faulty]:
    """Give a project on its own server with PostgreSQL's defaults."""
    with faulty(own_server, tmp_path) as made:
        yield made


everywhere = pytest.mark.parametrize(
    ("code", "until"),
    [(IN_A_STATEMENT, "pg_sleep"), (IN_PYTHON.format(3), "SELECT 42")],
    ids=["in a statement", "in Python"],
)
both_modes = pytest.mark.parametrize("mode", [[], ["--clone"]], ids=["rolled back", "clone"])


@everywhere
@both_modes
@pytest.mark.parametrize("how", ["fast", "immediate"])
def test_the_server_restarts(
    fault: Faulty, code: str, until: str, mode: list[str], how: str
) -> None:
    fault.add(code)
    process = fault.started(*mode, until=until)

    fault.restart(how)

    assert "connection" in stopped(told(process, 2))


@everywhere
@both_modes
def test_another_session_terminates_ours(
    fault: Faulty, code: str, until: str, mode: list[str]
) -> None:
    fault.add(code)
    process = fault.started(*mode, until=until)

    fault.server.query(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
        " WHERE application_name = 'django-confiture dry run'"
    )

    message = stopped(told(process, 2))
    assert "terminating connection due to administrator command" in message or mode
    assert "connection" in message


@both_modes
def test_our_statement_timeout_is_no_failure_of_the_migration(
    fault: Faulty, mode: list[str]
) -> None:
    fault.configure(STATEMENT_TIMEOUT="300ms")
    fault.add(IN_A_STATEMENT)

    message = stopped(fault.ran(*mode, code=2))

    assert message == (
        "canceling statement due to statement timeout: the dry run's own (STATEMENT_TIMEOUT)"
    )


@both_modes
def test_a_statement_timeout_of_the_migration_is(fault: Faulty, mode: list[str]) -> None:
    fault.configure(STATEMENT_TIMEOUT="10s")
    fault.add(f"cursor.execute(\"SET LOCAL statement_timeout = '100ms'\"); {IN_A_STATEMENT}")

    document = fault.ran(*mode, code=1)

    assert document["migrations"][1]["outcome"] == "failed"
    assert document["migrations"][1]["error"]["message"] == (
        "canceling statement due to statement timeout"
    )


@both_modes
def test_a_migration_that_only_looks_at_its_timeout(fault: Faulty, mode: list[str]) -> None:
    fault.configure(STATEMENT_TIMEOUT="300ms")
    fault.add(f"cursor.execute('SHOW statement_timeout'); {IN_A_STATEMENT}")

    assert "the dry run's own" in stopped(fault.ran(*mode, code=2))


@both_modes
def test_the_role_may_not_be_idle_in_a_transaction(fault: Faulty, mode: list[str]) -> None:
    fault.server.query_alone(
        "ALTER ROLE postgres SET idle_in_transaction_session_timeout = '500ms'"
    )
    try:
        fault.add(IN_PYTHON.format(2))
        document = fault.ran(*mode, code=1)
    finally:
        fault.server.query_alone("ALTER ROLE postgres RESET ALL")

    second = document["migrations"][1]
    assert second["outcome"] == "failed"
    assert second["error"]["message"] == (
        "terminating connection due to idle-in-transaction timeout"
    )


SORTED = (
    "cursor.execute('SELECT count(*) FROM"
    " (SELECT i FROM generate_series(1, 2000000) i ORDER BY md5(i::text)) s')"
)


@both_modes
def test_no_room_for_temporary_files(
    own_server: OwnServer, tmp_path: Path, mode: list[str]
) -> None:
    with faulty(own_server, tmp_path, temp_file_limit="1MB", work_mem="1MB") as fault:
        fault.add(SORTED)

        assert "temporary file size exceeds" in stopped(fault.ran(*mode, code=2))


@pytest.fixture
def small_disk() -> Iterator[Path]:
    """Give a directory of 8 MB, where we may mount one."""
    if sys.platform != "linux" or os.getuid() != 0:
        pytest.skip("only root mounts a disk")
    directory = Path(tempfile.mkdtemp(prefix="confiture-disk-", dir="/tmp"))
    options = ["-t", "tmpfs", "-o", "size=8m,mode=777", "tmpfs", str(directory)]
    if subprocess.run(["mount", *options], capture_output=True).returncode != 0:
        directory.rmdir()
        pytest.skip("may not mount")
    try:
        yield directory
    finally:
        subprocess.run(["umount", str(directory)], check=True)
        directory.rmdir()


def test_the_disk_is_full(own_server: OwnServer, tmp_path: Path, small_disk: Path) -> None:
    place = small_disk / "space"
    place.mkdir()
    place.chmod(0o700)
    shutil.chown(place, own_server.data.owner())
    with faulty(own_server, tmp_path) as fault:
        own_server.query_alone(f"CREATE TABLESPACE dry_small LOCATION '{place}'")
        try:
            fault.add(
                'cursor.execute("CREATE TABLE dry_big TABLESPACE dry_small AS'
                ' SELECT repeat(md5(i::text), 10) FROM generate_series(1, 100000) i")'
            )
            message = stopped(fault.ran(code=2))
        finally:
            own_server.query_alone("DROP TABLESPACE dry_small")

    assert message.endswith("No space left on device")


TABLES_WITHOUT_END = (
    "[cursor.execute(f'CREATE TABLE dry_t{i} (id integer PRIMARY KEY)') for i in range(3000)]"
)


def test_the_lock_table_is_full(own_server: OwnServer, tmp_path: Path) -> None:
    with faulty(own_server, tmp_path, max_locks_per_transaction=10, max_connections=10) as fault:
        fault.add(TABLES_WITHOUT_END)

        assert "out of shared memory: the server's lock table is full" in stopped(fault.ran(code=2))
