"""What ``pg_dump`` says of every database of a server, rows included."""

from __future__ import annotations

import re
import subprocess
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg

import local_postgres

_PASSING = re.compile(r"^\\(un)?restrict .*$", re.MULTILINE)
"""Lines that hold a new random key in each dump."""

_POSITION = re.compile(r"^SELECT pg_catalog\.setval\(.*$", re.MULTILINE)


@dataclass(frozen=True)
class Dump:
    """All databases; the positions of sequences apart, as no rollback undoes them."""

    texts: dict[str, str]
    positions: dict[str, list[str]]


def dump(address: dict[str, Any], *databases: str, without: str | None = None) -> Dump:
    """Dump the databases named, or all of the server but copies that a killed run has left.

    ``without`` is a pattern of tables to leave out.
    """
    texts = {each: _text(address, each, without) for each in databases or _databases(address)}
    return Dump(
        {name: _POSITION.sub("", text) for name, text in texts.items()},
        {name: _POSITION.findall(text) for name, text in texts.items()},
    )


def _databases(address: dict[str, Any]) -> list[str]:
    with closing(psycopg.connect(**address, dbname="postgres", autocommit=True)) as connection:
        rows = connection.execute(
            "SELECT datname FROM pg_database WHERE datallowconn AND datname !~ '^confiture_clone_'"
        ).fetchall()
    return sorted(name for (name,) in rows)


def _text(address: dict[str, Any], database: str, without: str | None) -> str:
    conninfo = psycopg.conninfo.make_conninfo(**address, dbname=database)
    program = local_postgres._find_programs() / "pg_dump"
    left_out = [f"--exclude-table={without}"] if without else []
    command: list[str | Path] = [program, "--create", *left_out, conninfo]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return _PASSING.sub("", done.stdout)
