"""Processes that a migration starts, such as ``psql``: nothing of them is seen, or rolled back."""

from __future__ import annotations

import functools
import os
import shlex
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from django_confiture.dry_run.isolation.threads import OwnThreads
from django_confiture.dry_run.server.driver import OPEN_PROCESS, RUN_SHELL, START_PROCESS
from django_confiture.dry_run.server.patches import patched

_NOT_SEEN = (
    "It started another process ({}). What that does to a database is neither seen nor rolled back."
)


class ChildProcesses:
    """Notes each process that a thread of the dry run starts; it is started all the same."""

    def __init__(self, own: OwnThreads, not_rehearsed: Callable[[str], None]) -> None:
        self._own = own
        self._not_rehearsed = not_rehearsed

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Watch ``subprocess``, ``os.system`` and ``multiprocessing`` inside the block."""
        with patched(
            (OPEN_PROCESS, self._opening),
            (RUN_SHELL, self._running),
            (START_PROCESS, self._starting),
        ):
            yield

    def _note(self, program: str) -> None:
        if self._own.has_this:
            self._not_rehearsed(_NOT_SEEN.format(program))

    def _opening(self, original: Callable[..., None]) -> Callable[..., None]:
        @functools.wraps(original)
        def execute(popen: Any, args: Any, *others: Any, **named: Any) -> None:
            self._note(_program(args))
            original(popen, args, *others, **named)

        return execute

    def _running(self, original: Callable[..., int]) -> Callable[..., int]:
        @functools.wraps(original)
        def system(command: Any) -> int:
            self._note(_program(command))
            return original(command)

        return system

    def _starting(self, original: Callable[..., None]) -> Callable[..., None]:
        @functools.wraps(original)
        def start(process: Any) -> None:
            self._note(process.name)
            original(process)

        return start


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
