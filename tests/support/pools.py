"""Connection pools between a test and PostgreSQL: small ones of our own, and PgBouncer.

A pool makes up the key with which a client cancels, so that the process in it is none of the
server's. It gives a session to a client for as long as that is connected, or for a transaction.
"""

from __future__ import annotations

import os
import shutil
import socket
import struct
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

import psycopg
import pytest
from django.db import connection

from tests.support.dry_run import parameters

_HEADER = struct.Struct("!ci")
_NO_ENCRYPTION = (80877103, 80877104)  # SSLRequest, GSSENCRequest
_CANCEL = 80877102
_MADE_UP = struct.pack("!ii", 1_234_567, 42)


def _exactly(source: socket.socket, size: int) -> bytes:
    found = b""
    while len(found) < size:
        part = source.recv(size - len(found))
        if not part:
            raise ConnectionError
        found += part
    return found


def _message(source: socket.socket) -> tuple[bytes, bytes]:
    """Return the type of the next message, and all of it."""
    header = _exactly(source, _HEADER.size)
    kind, size = _HEADER.unpack(header)
    return kind, header + _exactly(source, size - 4)


class Pool:
    """A pool that listens until it is closed; ``answers`` is how many clients get a session."""

    def __init__(self, mode: str, answers: int = 99) -> None:
        self._mode = mode
        self._answers = answers
        self._idle: list[socket.socket] = []
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port = self._server.getsockname()[1]
        self._open = [self._server]
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        for each in self._open:
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _address = self._server.accept()
                client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                self._open.append(client)
                threading.Thread(target=self._serve, args=[client], daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with suppress(OSError):
            session = self._log_in(client)
            self._answers -= 1
            if self._answers < 0:
                return  # who waits for a session is not told so
            if self._mode == "transaction":
                self._idle.append(session)
            with closing(client):  # also when the server has closed the session
                self._relay(client, session)

    def _log_in(self, client: socket.socket) -> socket.socket:
        while True:
            size, code = struct.unpack("!ii", start := _exactly(client, 8))
            if code not in _NO_ENCRYPTION:
                break
            client.sendall(b"N")
        if code == _CANCEL:
            raise ConnectionError
        session = _connect_to_server()
        self._open.append(session)
        session.sendall(start + _exactly(client, size - 8))
        kind = b""
        while kind != b"Z":
            kind, text = _message(session)
            if kind == b"K":
                text = text[:5] + _MADE_UP
            client.sendall(text)
            if kind == b"R" and text[5:9] not in (b"\0\0\0\0", b"\0\0\0\x0c"):
                session.sendall(_message(client)[1])
        return session

    def _relay(self, client: socket.socket, session: socket.socket) -> None:
        """Pass on what belongs together: up to a Sync or a Query, and the answers to it."""
        mine: socket.socket | None = None if self._mode == "transaction" else session
        while True:
            kind, text = _message(client)
            if kind == b"X":
                break
            mine = mine or self._idle.pop()
            mine.sendall(text)
            while kind in (b"Q", b"S"):
                answer, text = _message(mine)
                client.sendall(text)
                if answer == b"Z":
                    if text[-1:] == b"I" and self._mode == "transaction":
                        self._idle.append(mine)
                        mine = None
                    break
        if self._mode == "session":
            session.sendall(text)


def _connect_to_server() -> socket.socket:
    known = parameters()
    host, port = str(known["host"]), int(known["port"])
    if not host.startswith("/"):
        return socket.create_connection((host, port))
    found = socket.socket(socket.AF_UNIX)
    found.connect(f"{host}/.s.PGSQL.{port}")
    return found


@contextmanager
def through(port: int, **other: Any) -> Iterator[None]:
    """Let "default" connect to a pool."""
    before = connection.settings_dict
    connection.close()
    own = {"HOST": "127.0.0.1", "PORT": str(port), **other}
    connection.settings_dict = {**before, **own}
    try:
        yield
    finally:
        connection.close()
        connection.settings_dict = before


@contextmanager
def pooled(mode: str, answers: int = 99) -> Iterator[None]:
    """Let "default" connect through a pool of ours."""
    with closing(Pool(mode, answers)) as pool, through(pool.port):
        yield


_INI = """
[databases]
* = host={host} port={port} user={user}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {own_port}
unix_socket_dir =
auth_type = any
pool_mode = {mode}
ignore_startup_parameters = extra_float_digits
logfile = {directory}/log
pidfile = {directory}/pid
"""


@contextmanager
def behind_pgbouncer(mode: str, **more: int) -> Iterator[None]:
    """Let "default" connect through PgBouncer; skip where it is not installed, or can't log in."""
    program = shutil.which("pgbouncer", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
    known = parameters()
    if program is None or known.get("password"):
        pytest.skip("needs pgbouncer, and a server that wants no password")
    directory = Path(tempfile.mkdtemp(prefix="confiture-pool-", dir="/tmp"))
    with closing(socket.create_server(("127.0.0.1", 0))) as free:
        port = free.getsockname()[1]
    file = directory / "ini"
    text = _INI.format(**known, own_port=port, mode=mode, directory=directory)
    file.write_text(text + "".join(f"{name} = {value}\n" for name, value in more.items()))
    user: list[str] = []
    if os.getuid() == 0:
        user = ["-u", "nobody"]
        for path in (directory, file):
            shutil.chown(path, "nobody")
    process = subprocess.Popen(
        [program, "-q", *user, file], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        _wait_for(port)
        with through(port, USER="anybody"):
            yield
    finally:
        process.kill()
        process.wait()
        shutil.rmtree(directory)


def _wait_for(port: int) -> None:
    until = time.monotonic() + 10
    while time.monotonic() < until:
        with suppress(OSError, psycopg.Error), socket.create_connection(("127.0.0.1", port)):
            return
        time.sleep(0.05)
    pytest.fail("pgbouncer did not start")
