"""``migrate_dryrun --clone`` in its own process: what is printed, and what a kill leaves."""

from __future__ import annotations

import json
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.dry_run.test_process import Project, ended, wait_for
from tests.support.clone import alone, clones, connected_to, create, drop
from tests.support.dry_run import fingerprint, parameters

ROWS = (
    "CREATE TABLE dry_row AS SELECT i AS id, repeat('x', 500) AS name FROM generate_series(1, {}) i"
)


@pytest.fixture
def project(
    request: pytest.FixtureRequest, tmp_path: Path, both_databases: None
) -> Iterator[Project]:
    """Give a project whose database has rows, and must keep them."""
    with alone():
        yield from _project(request, tmp_path)


def _project(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Project]:
    name = f"{parameters()['dbname']}_cloned"
    create(name, ROWS.format(getattr(request, "param", 1000)))
    with connected_to(name) as plain:
        before = fingerprint(plain)
    made = Project(tmp_path, name)
    yield made
    with connected_to(name) as plain:
        assert fingerprint(plain) == before
    drop(name)
    for left in clones():
        drop(left)


def clone_of(project: Project) -> str:
    """Return the clone of a project's database, once there is one."""
    names: list[str] = []

    def there() -> bool:
        names[:] = [name for name in clones() if project.dbname in name]
        return bool(names)

    wait_for(there, 30)
    return names[0]


def start_and_wait(project: Project, code: str, query: str) -> subprocess.Popen[str]:
    """Start the command and return once a session is where the test wants it."""
    project.add(code)
    process = project.start("cases", "--clone")
    with connected_to("postgres") as plain:

        def running() -> bool:
            assert process.poll() is None, process.communicate()
            rows = plain.execute(
                "SELECT FROM pg_stat_activity WHERE query LIKE %s AND pid <> pg_backend_pid()"
                " AND (datname LIKE %s OR query LIKE 'CREATE DATABASE%%')",
                [f"%{query}%", f"%{project.dbname[-20:]}%"],
            )
            return bool(rows.rowcount)

        wait_for(running, 30)
    return process


def sessions(name: str) -> int:
    with connected_to("postgres") as plain:
        row: Any = plain.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = %s",
            [name],
        ).fetchone()
        return int(row[0])


def test_a_report(project: Project) -> None:
    project.add("connection.cursor().execute('UPDATE dry_row SET id = id')")

    out, err = project.run("--clone", "--format", "json", code=0)

    document = json.loads(out)
    assert document["mode"] == "clone"
    assert document["rolled_back"] is True
    assert document["database"]["name"] == project.dbname
    assert set(document["clone"]) == {"name", "of", "strategy", "duration_ms"}
    assert err.startswith(f"Copying {project.dbname} (")
    assert clones() == []


def test_the_text(project: Project) -> None:
    project.add("connection.cursor().execute('UPDATE dry_row SET id = id')")

    out, _err = project.run("cases", "--clone", code=0)

    assert f"On a clone of {project.dbname}, made in " in " ".join(out.split())
    assert out.endswith("It ran on a clone, which was dropped.\n")


def test_the_plan_is_undone_on_the_copy(project: Project) -> None:
    project.add("pass")

    out, _err = project.run("auth", "--clone", "--reverse", code=0)

    assert "Reverse: Undone, and the schema is as it was before" in out
    out, _err = project.run("cases", "--clone", "--reverse", code=1)
    assert "Reverse: It can't be undone" in out


def test_a_migration_that_would_fail(project: Project) -> None:
    project.add("connection.cursor().execute('SELECT 1 / 0')")

    out, _err = project.run("cases", "--clone", code=1)

    assert "division by zero" in out
    assert clones() == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nope"], "CommandError: No installed app with label 'nope'."),
        (["--clone-of", "nope"], "argument --clone-of: invalid choice: 'nope'"),
    ],
)
def test_wrong_usage(project: Project, arguments: list[str], message: str) -> None:
    out, err = project.run("--clone", *arguments, code=2)

    assert out == ""
    assert message in err
    assert clones() == []


def test_a_database_in_use_is_one_line_and_no_wait(project: Project) -> None:
    """CREATE DATABASE itself would wait for five seconds."""
    started = time.monotonic()
    project.run("--clone", "no_such_app", code=2)
    without_session = time.monotonic() - started
    with connected_to(project.dbname, application_name="web"):
        started = time.monotonic()
        _out, err = project.run("--clone", code=2)
        took = time.monotonic() - started

    assert "has 1 other session: " in err
    assert "(web, for " in err
    assert err.count("\n") == 1
    assert took < 2 * without_session + 4


# Interrupted and killed.

IN_A_STATEMENT = "connection.cursor().execute('SELECT pg_sleep(60)')"
IN_PYTHON = "connection.cursor().execute('SELECT 42'); time.sleep(60)"


@pytest.mark.parametrize(
    ("code", "number"),
    [(IN_A_STATEMENT, signal.SIGTERM), (IN_PYTHON, signal.SIGINT)],
    ids=["in a statement", "in Python"],
)
def test_an_interrupt_drops_the_copy(project: Project, code: str, number: signal.Signals) -> None:
    process = start_and_wait(project, code, "pg_sleep" if code == IN_A_STATEMENT else "SELECT 42")
    time.sleep(0.3)

    process.send_signal(number)

    out, _err = ended(process, 128 + number)
    assert "cases.0001_case" in out
    assert clones() == []


@pytest.mark.parametrize("code", [IN_A_STATEMENT, IN_PYTHON], ids=["in a statement", "in Python"])
def test_what_a_kill_leaves_is_dropped_by_the_next_run(project: Project, code: str) -> None:
    process = start_and_wait(project, code, "pg_sleep" if code == IN_A_STATEMENT else "SELECT 42")
    name = clone_of(project)

    process.kill()
    process.communicate()
    assert clones() == [name]
    wait_for(lambda: sessions(name) == 0, 10)
    project.add("pass")

    _out, err = project.run("cases", "--clone", code=0)

    assert f"Dropped {name}, a clone that an earlier run left behind.\n" in err
    assert clones() == []


def start_and_wait_until_it_copies(project: Project) -> subprocess.Popen[str]:
    project.add("pass")
    process = project.start("cases", "--clone")
    with connected_to("postgres") as plain:
        wait_for(
            lambda: (
                plain.execute(
                    "SELECT FROM pg_stat_activity WHERE query LIKE 'CREATE DATABASE%%'"
                    " AND query LIKE %s AND state = 'active' AND pid <> pg_backend_pid()",
                    [f"%{project.dbname}%"],
                ).rowcount
            ),
            30,
        )
    return process


@pytest.mark.parametrize("project", [400_000], indirect=True)
def test_a_kill_while_it_copies_leaves_nothing_for_long(project: Project) -> None:
    process = start_and_wait_until_it_copies(project)
    process.kill()
    process.communicate()
    with connected_to("postgres") as plain:
        wait_for(
            lambda: (
                not plain.execute(
                    "SELECT FROM pg_stat_activity WHERE application_name = 'django-confiture clone'"
                ).rowcount
            ),
            20,
        )
    left = clones()

    _out, err = project.run("cases", "--clone", code=0)

    assert all(f"Dropped {name}" in err for name in left)
    assert clones() == []


@pytest.mark.parametrize("project", [400_000], indirect=True)
def test_an_interrupt_while_it_copies(project: Project) -> None:
    process = start_and_wait_until_it_copies(project)

    process.send_signal(signal.SIGINT)

    _out, err = ended(process, 128 + signal.SIGINT)
    assert clones() == []
    assert err.endswith("Stopped before any migration ran.\n") or "cases.0001_case" in err


def test_a_lost_connection_ends_it(project: Project) -> None:
    process = start_and_wait(project, IN_PYTHON.replace("60", "4"), "SELECT 42")
    name = clone_of(project)
    with connected_to("postgres") as plain:
        plain.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", [name]
        )

    out, err = ended(process, 2)

    assert "lost" in out + err
    assert clones() == []


def test_the_connection_that_drops_is_lost_too(project: Project) -> None:
    process = start_and_wait(project, IN_PYTHON.replace("60", "4"), "SELECT 42")
    with connected_to("postgres") as plain:
        plain.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE application_name = 'django-confiture clone'"
        )

    ended(process, 0)

    assert clones() == []
