"""What a process does that a migration starts is not seen, so the operation is not exact."""

from __future__ import annotations

import multiprocessing
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable

import pytest

from tests.support.dry_run import only_operation, python

pytestmark = pytest.mark.usefixtures("scratch")

SECRET = "secret"


def in_a_thread(code: Callable[[], object]) -> None:
    thread = threading.Thread(target=code)
    thread.start()
    thread.join()


def spawned() -> None:
    process = multiprocessing.get_context("spawn").Process(target=os.getpid, name="a worker")
    process.start()
    process.join()


def forked() -> None:
    if (child := os.fork()) == 0:
        os._exit(0)
    os.waitpid(child, 0)


def forked_worker() -> None:
    process = multiprocessing.get_context("fork").Process(target=os.getpid, name="a worker")
    process.start()
    process.join()


def exit_code_of_true(spawn: Callable[..., int]) -> None:
    _pid, status = os.waitpid(spawn(shutil.which("true"), ["true", SECRET], {}), 0)
    assert status == 0


@pytest.mark.parametrize(
    ("code", "program"),
    [
        (lambda: subprocess.run([sys.executable, "-c", f"'{SECRET}'"], check=True), "python"),
        (lambda: subprocess.run(f"true {SECRET}", shell=True, check=True), "true"),
        (lambda: os.system(f"true '{SECRET}'"), "true"),
        (lambda: in_a_thread(lambda: subprocess.run(["true"], check=True)), "true"),
        (lambda: os.spawnlp(os.P_WAIT, "true", "true", SECRET), "a fork"),
        (lambda: exit_code_of_true(os.posix_spawn), "true"),
        (lambda: exit_code_of_true(os.posix_spawnp), "true"),
        (forked, "a fork"),
        (forked_worker, "a worker"),
        (spawned, "a worker"),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_an_operation_that_starts_a_process_is_not_exact(
    code: Callable[[], object], program: str
) -> None:
    operation = only_operation(python(lambda: code()))

    assert operation.rehearsed == "not_rehearsed"
    assert f"It started another process ({program}" in operation.reason
    assert operation.reason.count("another process") == 1
    assert "neither seen nor rolled back" in operation.reason
    assert SECRET not in operation.reason


def test_others_are() -> None:
    assert only_operation(python(lambda: None)).rehearsed == "exact"


def test_what_the_command_starts_before_and_after_is_none_of_its_business() -> None:
    subprocess.run(["true"], check=True)
    assert only_operation(python(lambda: None)).rehearsed == "exact"
    assert subprocess.run(["true"], check=True).returncode == 0
