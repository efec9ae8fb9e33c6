"""Ranges as Celery's tasks, with Redis; both as processes."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.backfills.test_processes import done, environment, started
from tests.backfills.test_tasks import OPTIONS, state
from tests.support.backfills import PATH, books, counters, shelf, wait_for
from tests.support.paths import ROOT

pytest.importorskip("django_tasks_celery", reason="needs Django 6 and the group celery")

__all__ = ["shelf"]  # a fixture

ROWS = 80_000
SETTINGS = "tests.backfill_celery_settings"


@pytest.fixture
def broker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Start a Redis on its own socket."""
    program = shutil.which("redis-server")
    if program is None:
        pytest.skip("needs redis-server")
    socket = tmp_path / "redis"
    redis = subprocess.Popen(
        [program, "--port", "0", "--unixsocket", str(socket), "--save", ""],
        stdout=subprocess.DEVNULL,
        cwd=tmp_path,
    )
    wait_for(socket.exists)
    monkeypatch.setenv("CONFITURE_TEST_BROKER", f"redis+socket://{socket}")
    yield
    redis.terminate()
    redis.wait(20)


def worker(number: int, **options: Any) -> subprocess.Popen[str]:
    """Start a Celery worker with one process."""
    return subprocess.Popen(
        [
            *(sys.executable, "-m", "celery", "-A", "tests.support.celery_app", "worker"),
            *("-P", "solo", "-n", f"worker{number}", "--without-gossip", "--without-mingle"),
        ],
        env={**environment({**OPTIONS, **options}), "DJANGO_SETTINGS_MODULE": SETTINGS},
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        text=True,
    )


@pytest.mark.usefixtures("shelf", "broker")
def test_killed_and_frozen_workers_are_replaced_by_the_others() -> None:
    books(ROWS)
    process = started(
        "confiture_backfills", "start", PATH + "CountBooks", settings=SETTINGS, **OPTIONS
    )
    output, _ = process.communicate(timeout=180)
    assert "is queued, with 4 tasks queued." in output
    workers = [worker(number, MAX=200) for number in range(4)]
    try:
        wait_for(lambda: done() > 2000)
        workers[0].kill()
        workers[1].send_signal(signal.SIGSTOP)
        wait_for(lambda: state(PATH + "CountBooks") == "completed", 180)
        assert counters() == {1: ROWS}
        workers[1].send_signal(signal.SIGCONT)
    finally:
        for each in workers:
            each.send_signal(signal.SIGCONT)
            each.terminate()
            try:
                each.wait(20)
            except subprocess.TimeoutExpired:
                each.kill()
                each.wait()
    assert counters() == {1: ROWS}
