"""On a terminal, a migration that lasts says what it does, on the line that Django has begun."""

from __future__ import annotations

import os
import pty
import re
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
from django.core.management import call_command
from django.db import connection, migrations
from pytest_django import Settings

from tests.cases.migrations_on_disk import Cases
from tests.support import recording
from tests.support.sessions import client, holding

ALTER = "ALTER TABLE recording_parent ADD note text"


@pytest.fixture(autouse=True)
def _tables(cases: Cases, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    settings.CONFITURE = {}
    monkeypatch.setenv("COLUMNS", "120")
    with recording.recording():
        yield
    connection.close()


def on_a_terminal(*args: str, **options: Any) -> str:
    """Run ``migrate`` on a pseudo-terminal; return all that it was sent."""
    ours, theirs = pty.openpty()
    found: list[bytes] = []

    def read() -> None:
        while True:
            try:
                part = os.read(ours, 4096)
            except OSError:  # the other end is closed
                return
            if not part:
                return
            found.append(part)

    reader = threading.Thread(target=read)
    reader.start()
    try:
        with open(theirs, "w") as terminal:  # noqa: PTH123 - a descriptor
            call_command("migrate", "cases", *args, stdout=terminal, no_color=True, **options)
    finally:
        reader.join()
        os.close(ours)
    return b"".join(found).decode()


def drawn(text: str) -> list[str]:
    return re.findall(r"\r\x1b\[K([^\r]*)", text)


def test_it_says_for_whom_it_waits_and_the_line_ends_as_djangos_own(cases: Cases) -> None:
    cases.add("0001_waits", migrations.RunSQL(ALTER))
    with holding("LOCK recording_parent IN ACCESS SHARE MODE", name="nightly", waited_for_s=2):
        said = on_a_terminal()
    *lines, last = drawn(said)
    assert lines
    for line in lines:
        assert re.fullmatch(
            r"  Applying cases\.0001_waits\.\.\. \d+\.\d s  \[waits for nightly\]  "
            r"ALTER TABLE recording_parent ADD note text",
            line,
        ), line
    assert last == "  Applying cases.0001_waits... OK"
    assert said.endswith("... OK\r\n")


def test_it_says_who_waits_for_it(cases: Cases) -> None:
    sleeps = migrations.RunPython(lambda apps, editor: time.sleep(1.8))
    cases.add("0001_blocks", migrations.RunSQL(ALTER), sleeps)
    with client("SELECT FROM recording_parent", name="shop"):
        lines = drawn(on_a_terminal())
    assert re.fullmatch(
        r"  Applying cases\.0001_blocks\.\.\. \d\.\d s  \[shop waits for it\]", lines[0]
    )


def test_a_quick_one_is_left_alone(cases: Cases) -> None:
    cases.add("0001_quick", migrations.RunSQL(ALTER))
    assert drawn(on_a_terminal()) == []


@pytest.mark.parametrize("verbosity", [0, 2])
def test_so_is_another_verbosity(cases: Cases, verbosity: int) -> None:
    cases.add("0001_slow", migrations.RunSQL("SELECT pg_sleep(1.5)"))
    assert drawn(on_a_terminal(verbosity=verbosity)) == []


def test_so_are_logs_and_pipes(cases: Cases, tmp_path: Any) -> None:
    cases.add("0001_slow", migrations.RunSQL("SELECT pg_sleep(1.5)"))
    with (tmp_path / "log").open("w") as log:
        call_command("migrate", "cases", stdout=log)
    assert (tmp_path / "log").read_text().endswith("  Applying cases.0001_slow... OK\n")


def test_a_narrow_terminal_is_not_broken(cases: Cases, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    cases.add("0001_slow", migrations.RunSQL(f"SELECT pg_sleep(1.5); {ALTER}"))
    with client("SELECT FROM recording_parent", name="shop" * 9):
        assert all(len(line) < 60 for line in drawn(on_a_terminal()))
