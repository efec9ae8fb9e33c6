"""Whatever a migration does in the command: every database is as it was, and no traceback."""

from __future__ import annotations

import json
import sqlite3
import subprocess
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg import sql

from tests.dry_run.test_process import Project
from tests.support.dry_run import parameters
from tests.support.dumps import Dump, dump

TABLES = """
CREATE TABLE dry_row (id serial PRIMARY KEY, name text NOT NULL, number integer);
INSERT INTO dry_row (name, number) SELECT 'name ' || i, i FROM generate_series(1, 100) i;
CREATE PROCEDURE dry_commits() LANGUAGE plpgsql AS
  $$ BEGIN UPDATE dry_row SET name = 'LEAK'; COMMIT; END $$;
CREATE EXTENSION IF NOT EXISTS dblink;
"""

PREAMBLE = """
import os, sys, sqlite3, threading
import psycopg, psycopg_pool
from django.conf import settings
from django.db import connection, connections, migrations, transaction, DatabaseError
from django.db.models.signals import post_migrate, pre_migrate

LEAK = "UPDATE dry_row SET name = 'LEAK'"
ADDRESS = {address!r}
if "OPENED" in {code!r} or "POOL" in {code!r}:
    import atexit
    OPENED = psycopg.connect(**ADDRESS, autocommit=True)
    POOL = psycopg_pool.ConnectionPool(kwargs=ADDRESS, min_size=1, open=True)
    POOL.wait()
    atexit.register(POOL.close)
    atexit.register(OPENED.close)


def do(text, using="default"):
    with connections[using].cursor() as cursor:
        cursor.execute(text)


def called(*args, **kwargs):
    open({marker!r}, "w").close()


def code(apps, schema_editor):
{code}


class Migration(migrations.Migration):
    atomic = {atomic}
    dependencies = {after!r}
    operations = [{operation}]
"""

PYTHON = "migrations.RunPython(code)"


@dataclass(frozen=True)
class Case:
    """What a migration does, and how the command ends."""

    code: str = "pass"
    exits: int = 0
    operation: str = PYTHON
    atomic: bool = True


def script(text: str, exits: int = 0, *, atomic: bool = True) -> Case:
    return Case("pass", exits, f"migrations.RunSQL({text!r})", atomic)


LEAK = "UPDATE dry_row SET name = 'LEAK'"

OWN = "with psycopg.connect(**ADDRESS) as own:\n    own.read_only = False\n    own.execute(LEAK)"

CASES = {
    "a script that rolls back": script(f"ROLLBACK; {LEAK}"),
    "a script that commits": script(f"BEGIN; {LEAK}; COMMIT"),
    "a script that commits and chains": script(f"{LEAK}; COMMIT AND CHAIN; {LEAK}; COMMIT"),
    "a script that commits, not atomic": script(f"{LEAK}; COMMIT; {LEAK}", atomic=False),
    "DISCARD": script("DISCARD ALL", 1),
    "DISCARD, not atomic": script("DISCARD ALL", atomic=False),
    "setval": script("SELECT setval('dry_row_id_seq', 777)"),
    "NOTIFY": script("LISTEN dry; NOTIFY dry"),
    "large objects": script("SELECT lo_from_bytea(0, 'LEAK')"),
    "a procedure that commits": script("CALL dry_commits()", 1),
    "a procedure that commits, not atomic": script("CALL dry_commits()", atomic=False),
    "dblink": script(f"SELECT dblink_exec('dbname={{dbname}}', $x${LEAK}$x$)"),
    "a program": script("COPY dry_row TO PROGRAM 'cat > {marker}'"),
    "a file of the server": script("COPY dry_row TO '{marker}'"),
    "ADD VALUE": script("CREATE TYPE dry_mood AS ENUM ('a'); ALTER TYPE dry_mood ADD VALUE 'b'"),
    "a name with quotes": script('ALTER TABLE dry_row ADD "100%% ""of"" \'it\'" integer'),
    "raw commit": Case("do(LEAK); connection.connection.commit()"),
    "raw commit, not atomic": Case("do(LEAK); connection.connection.commit()", atomic=False),
    "durable": Case("with transaction.atomic(durable=True): do(LEAK)", atomic=False),
    "autocommit games": Case(
        "transaction.set_autocommit(False)\ndo(LEAK)\ntransaction.commit()\n"
        "transaction.set_autocommit(True)",
        atomic=False,
    ),
    "a swallowed error": Case(
        "try: do('SELECT 1/0')\nexcept DatabaseError: pass\ndo(LEAK)", atomic=False
    ),
    "below the driver": Case(
        "connection.connection.pgconn.exec_(b'ROLLBACK; ' + LEAK.encode())", 2
    ),
    "another alias": Case("do(LEAK, 'other')"),
    "another alias commits": Case("do(LEAK, 'other'); connections['other'].connection.commit()"),
    "an alias of the same database": Case("do(LEAK, 'mirror')"),
    "sqlite": Case("do('INSERT INTO leak VALUES (2)', 'lite')"),
    "sqlite commits": Case(
        "do('INSERT INTO leak VALUES (2)', 'lite'); connections['lite'].connection.commit()", 1
    ),
    "a script of sqlite": Case(
        "connections['lite'].ensure_connection()\n"
        "connections['lite'].connection.executescript('INSERT INTO leak VALUES (2)')",
        1,
    ),
    "a thread": Case(
        "t = threading.Thread(target=lambda: (do(LEAK, 'other'), connections['other'].close()))\n"
        "t.start(); t.join()"
    ),
    "its own connection": Case(OWN, 2),
    "opened before": Case("OPENED.execute(LEAK)", 2),
    "opened before, in a transaction": Case(
        "OPENED.autocommit = False\nOPENED.read_only = False\n"
        "OPENED.execute(LEAK); OPENED.commit()",
        2,
    ),
    "a pool opened before": Case("with POOL.connection() as own: own.execute(LEAK)", 2),
    "COPY FROM": Case(
        "with connection.connection.cursor().copy('COPY dry_row (name) FROM STDIN') as copy:\n"
        "    copy.write('LEAK\\n')"
    ),
    "COPY TO": Case(
        "with connection.connection.cursor().copy('COPY dry_row TO STDOUT') as copy:\n"
        "    list(copy)"
    ),
    "on_commit": Case("transaction.on_commit(called)"),
    "on_commit, not atomic": Case("transaction.on_commit(called)", atomic=False),
    "a receiver that fails": Case(
        "def receiver(**kwargs): raise ValueError('x')\npost_migrate.connect(receiver, weak=False)",
        1,
    ),
    "exit": Case("do(LEAK); sys.exit(0)", 1),
    "Ctrl-C": Case("do(LEAK); raise KeyboardInterrupt", 130),
    "a death": Case("do(LEAK); os._exit(9)", 9),
    "prints": Case("for i in range(20000): print('x' * 100)"),
    "recursion": Case("def deep(): deep()\ndeep()", 1),
    "deep SQL": Case("do('SELECT ' + '(' * 3000 + '1' + ')' * 3000)"),
}


class Nasty:
    """A project with aliases of every kind."""

    def __init__(self, directory: Path, names: tuple[str, str]) -> None:
        self.directory, self.names = directory, names
        self.project = Project(directory, names[0])
        self.package = directory / "cases_migrations"
        self.marker = directory / "LEAK"
        self.lite = directory / "lite.db"
        known = {k: str(v) for k, v in parameters().items() if k != "dbname"}
        self.address = {**known, "dbname": names[0]}
        with (directory / "dry_settings.py").open("a") as settings:
            settings.write(f"""
DATABASES["other"] = {{**DATABASES["default"], "NAME": {names[1]!r}}}
DATABASES["mirror"] = {{**DATABASES["default"]}}
DATABASES["lite"] = {{"ENGINE": "django.db.backends.sqlite3", "NAME": {str(self.lite)!r}}}
""")
        with closing(sqlite3.connect(self.lite)) as lite, lite:
            lite.execute("CREATE TABLE leak (id integer)")

    def write(self, name: str, case: Case, after: list[Any]) -> None:
        operation = case.operation.replace("{marker}", str(self.marker))
        operation = operation.replace("{dbname}", f"{self.names[0]} user=postgres")
        (self.package / f"{name}.py").write_text(
            PREAMBLE.format(
                address=self.address,
                marker=str(self.marker),
                code="\n".join(f"    {line}" for line in case.code.splitlines()),
                atomic=case.atomic,
                after=after,
                operation=operation,
            )
        )

    def everything(self) -> tuple[Dump, bytes]:
        address = {k: v for k, v in self.address.items() if k != "dbname"}
        return dump(address, *self.names), self.lite.read_bytes()

    def run(self, *args: str) -> tuple[int, str, str]:
        process: subprocess.Popen[str] = self.project.start("cases", "--format", "json", *args)
        out, err = process.communicate(timeout=60)
        assert "Traceback" not in out + err, out + err
        return process.returncode, out, err


@pytest.fixture(scope="module")
def two_databases(both_databases: None) -> Iterator[tuple[str, str]]:
    """Give two databases with tables to harm."""
    names = (f"{parameters()['dbname']}_nasty", f"{parameters()['dbname']}_nasty_other")
    wanted = {**parameters(), "dbname": "postgres"}
    with psycopg.connect(**wanted, autocommit=True) as server:
        for name in names:
            identifier = sql.Identifier(name)
            server.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(identifier))
            server.execute(sql.SQL("CREATE DATABASE {}").format(identifier))
            with psycopg.connect(**{**wanted, "dbname": name}, autocommit=True) as connection:
                connection.execute(TABLES)
        yield names
        for name in names:
            drop = sql.SQL("DROP DATABASE {} WITH (FORCE)")
            server.execute(drop.format(sql.Identifier(name)))


@pytest.fixture
def nasty(two_databases: tuple[str, str], tmp_path: Path) -> Iterator[Nasty]:
    """Give a project; fail if anything of its databases is not as it was."""
    made = Nasty(tmp_path, two_databases)
    before, lite = made.everything()
    yield made
    after, lite_after = made.everything()
    assert after.texts == before.texts
    assert lite_after == lite
    assert not made.marker.exists()


@pytest.mark.parametrize("name", CASES)
def test_nothing_of_it_stays(nasty: Nasty, name: str) -> None:
    nasty.write("0001_case", CASES[name], [])

    code, out, err = nasty.run()

    assert code == CASES[name].exits, (code, out, err)


def test_all_that_pass_in_one_plan(nasty: Nasty) -> None:
    after: list[Any] = []
    # The thread would wait for what the plan holds on that alias, and print its own error.
    cases = [case for name, case in CASES.items() if not case.exits and name != "a thread"]
    for number, case in enumerate(cases, 1):
        nasty.write(f"{number:04}_case", case, after)
        after = [("cases", f"{number:04}_case")]

    code, out, err = nasty.run()

    assert code == 0, (out[-3000:], err[-3000:])
    assert {m["outcome"] for m in json.loads(out)["migrations"]} == {"passed"}
