"""What a process does that a migration starts is not seen, so the operation is not exact."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

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


@contextmanager
def listening(family: int) -> Iterator[tuple[Any, str]]:
    """Give an address at which someone listens, and how it is told."""
    with socket.socket(family, socket.SOCK_STREAM) as server:
        if family == socket.AF_INET:
            server.bind(("127.0.0.1", 0))
            said = f"port {server.getsockname()[1]} of 127.0.0.1"
        else:
            server.bind("socket")
            said = "socket"
        server.listen()
        yield server.getsockname(), said


def by_asyncio(address: Any) -> None:
    async def connect() -> None:
        if isinstance(address, tuple):
            _reader, writer = await asyncio.open_connection(*address)
        else:
            _reader, writer = await asyncio.open_unix_connection(address)
        writer.close()
        await writer.wait_closed()

    asyncio.run(connect())


def by_socket(address: Any) -> None:
    family = socket.AF_INET if isinstance(address, tuple) else socket.AF_UNIX
    with socket.socket(family) as client:
        client.connect(address)


def in_another_thread(address: Any) -> None:
    in_a_thread(lambda: by_socket(address))


@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_UNIX])
@pytest.mark.parametrize("connect", [by_asyncio, by_socket, in_another_thread])
def test_a_socket_is_noted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, family: int, connect: Callable[[Any], None]
) -> None:
    monkeypatch.chdir(tmp_path)
    with listening(family) as (address, said):
        operation = only_operation(python(lambda: connect(address)))

    assert operation.rehearsed == "not_rehearsed"
    assert operation.reason == (
        f"It connected to {said}. What is sent there is neither seen nor rolled back."
    )


def test_a_datagram_is_not() -> None:
    def code() -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
            client.connect(("127.0.0.1", 9))

    assert only_operation(python(code)).rehearsed == "exact"


def test_the_sockets_are_put_back() -> None:
    only_operation(python(lambda: None))
    assert "connect" not in vars(socket.socket)
