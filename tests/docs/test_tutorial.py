"""The tutorial, executed; ``TUTORIAL=write`` writes its transcripts, with a million rows.

The commands of a block run in order. What they print must be what the page shows, figures aside.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.dry_run import parameters, plain_connection
from tests.support.paths import DOCS, ROOT

PAGES = [DOCS / "tutorial.md", DOCS / "tutorial-hooks.md"]
BLOCK = re.compile(r"^```(python|console)\n(.*?)^```$", re.M | re.S)
FILE = re.compile(r"`([\w/]+\.py)`:\s*$")
WRITES = os.environ.get("TUTORIAL") == "write"
ROWS = "1000000" if WRITES else "20000"
FIGURE = re.compile(r"<?\d[\d,.]*(?: (?:ms|s|min|bytes|kB|MB|GB))?")


@pytest.fixture
def directory(tmp_path: Path, both_databases: None) -> Iterator[Path]:
    """An empty directory, and an empty database that the tutorial's settings reach."""
    with plain_connection() as connection:
        connection.execute(f"CREATE DATABASE {database()}")
    yield tmp_path
    with plain_connection() as connection:
        connection.execute(f"DROP DATABASE {database()} WITH (FORCE)")


def database() -> str:
    return f"confiture_shop_{os.getpid()}"


def run(directory: Path, command: str) -> str:
    """Run a command as in the tutorial's environment; return all that it prints."""
    known = {f"PG{key.upper()}": str(value) for key, value in parameters().items() if value}
    known.pop("PGDBNAME", None)
    environment = {**os.environ, **known, "PYTHONPATH": str(ROOT), "COLUMNS": "80"}
    environment.pop("DJANGO_SETTINGS_MODULE", None)
    program, *arguments = shlex.split(command)
    module = ["-m", "django"] if program == "django-admin" else []
    done = subprocess.run(
        [sys.executable, *module, *arguments],
        cwd=directory,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=300,
    )
    shown = done.stdout.replace(database(), "shop").replace(str(directory), "shop")
    return "".join(f"{line.rstrip()}\n" for line in shown.splitlines())


def transcript(directory: Path, block: str) -> str:
    """Return the block with what its commands print."""
    commands = [line for line in block.splitlines() if line.startswith("$ ")]
    return "".join(f"{command}\n{run(directory, command[2:])}" for command in commands)


def write_file(directory: Path, before: str, body: str) -> None:
    """Write the file that the text above a block names; settings are added to."""
    named = FILE.search(f"{before.rstrip()}\n")
    assert named, f"which file is this?\n{body}"
    path = directory / named[1]
    old = path.read_text() if path.name == "settings.py" else ""
    body = body.replace('"NAME": "shop"', f'"NAME": "{database()}"')
    path.write_text(old + body.replace("1000000", ROWS))


def words(shown: str) -> list[str]:
    """Return what does not vary from run to run: no figures, bars or line breaks."""
    return re.sub("[▏▎▍▌▋▊▉█]+", "", FIGURE.sub("N", shown)).split()


def test_the_pages_print_what_they_show(directory: Path) -> None:
    for page in PAGES:
        text = page.read_text()
        found = executed(directory, text)
        if WRITES:
            page.write_text(found)
        assert words(found) == words(text) or WRITES


def executed(directory: Path, page: str) -> str:
    """Write the files of a page and run its commands; return it with what they print."""
    found = page
    for match in BLOCK.finditer(page):
        language, body = match.groups()
        if language == "python":
            write_file(directory, page[: match.start()], body)
            continue
        printed = transcript(directory, body)
        found = found.replace(match[0], f"```console\n{printed}```", 1)
    return found
