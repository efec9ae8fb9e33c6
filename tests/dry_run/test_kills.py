"""``kill -9`` of the command and of its server: a few of the kills of ``benchmarks/kills.py``."""

from __future__ import annotations

import subprocess
import sys

from tests.support.paths import ROOT


def test_what_a_kill_leaves() -> None:
    command = [sys.executable, str(ROOT / "benchmarks" / "kills.py")]
    # The fourth kill takes the postmaster.
    done = subprocess.run(
        [*command, "--process", "3", "--server", "1", "--rows", "2000"],
        capture_output=True,
        text=True,
        timeout=240,
    )

    assert done.returncode == 0, done.stdout + done.stderr
    assert "| process | --clone | 1 |" in done.stdout
    assert "| postmaster | --clone | 1 |" in done.stdout
