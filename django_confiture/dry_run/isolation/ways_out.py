"""Processes that a migration starts, and sockets that it connects: what happens there is not seen.

``psql``, ``asyncpg``, a queue, a mail: none of that is rolled back either.
"""

from __future__ import annotations

import functools
import os
import shlex
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from django_confiture.dry_run.isolation.threads import OwnThreads
from django_confiture.dry_run.server.driver import (
    CONNECT_SOCKET,
    FORK,
    OPEN_PROCESS,
    RUN_SHELL,
    SPAWN,
    START_WORKER,
)
from django_confiture.dry_run.server.patches import Wrap, patched

_NOT_SEEN = (
    "It started another process ({}). What that does to a database is neither seen nor rolled back."
)
_ELSEWHERE = "It connected to {}. What is sent there is neither seen nor rolled back."


class WaysOut:
    """Notes each process that a thread of the dry run starts, and each socket that it connects.

    It does so all the same. libpq's sockets are not Python's; those have their own watch.
    """

    def __init__(self, own: OwnThreads, not_rehearsed: Callable[[str], None]) -> None:
        self._own = own
        self._not_rehearsed = not_rehearsed
        self._here = threading.local()

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Watch ``subprocess``, ``multiprocessing``, what ``os`` starts processes with, sockets."""
        with patched(
            (OPEN_PROCESS, self._noting(lambda _popen, args, *_others: _program(args))),
            (START_WORKER, self._noting(lambda process: str(process.name))),
            (RUN_SHELL, self._noting(_program)),
            *((spawn, self._noting(lambda path, *_others: _program([path]))) for spawn in SPAWN),
            *((fork, self._noting(lambda: "a fork")) for fork in FORK),
            *((each, self._noting(_address, _ELSEWHERE)) for each in CONNECT_SOCKET),
        ):
            yield

    def _noting(self, said: Callable[..., str], text: str = _NOT_SEEN) -> Wrap:
        """Return a patch that notes what ``said`` says of the arguments, unless that is nothing.

        One way out leads to another, so only the outermost is noted.
        """

        def wrap(original: Callable[..., Any]) -> Callable[..., Any]:
            @functools.wraps(original)
            def start(*args: Any, **named: Any) -> Any:
                if getattr(self._here, "starts", False) or not self._own.has_this:
                    return original(*args, **named)
                if what := said(*args):
                    self._not_rehearsed(text.format(what))
                self._here.starts = True
                try:
                    return original(*args, **named)
                finally:
                    self._here.starts = False

            return start

        return wrap


def _address(sock: socket.socket, address: Any) -> str:
    """Return where a socket is being connected to; ``""`` for datagrams, such as those of logs."""
    if sock.type != socket.SOCK_STREAM:
        return ""
    if isinstance(address, tuple):
        host, port = address[:2]
        return f"port {port} of {host}"
    return os.fsdecode(address)


def _program(command: Any) -> str:
    """Return the name of what a command runs, without the arguments: they may be secret."""
    if isinstance(command, (str, bytes)):
        text = os.fsdecode(command)
        try:
            words = shlex.split(text)
        except ValueError:
            words = text.split()
    elif isinstance(command, os.PathLike):
        words = [os.fspath(command)]
    else:
        words = [os.fsdecode(each) for each in command]
    return Path(words[0]).name if words else "?"
