"""Ctrl-C and SIGTERM: both end a command in order, and its exit code says which one it was."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager


class Interruption:
    """The signal that interrupted a command, if one did."""

    def __init__(self) -> None:
        self._number: int | None = None

    @property
    def exit_code(self) -> int | None:
        """What a shell expects of a command that a signal has ended; None if none has."""
        return None if self._number is None else 128 + self._number

    def caught(self) -> int:
        """Note a ``KeyboardInterrupt``, and return the exit code."""
        self._number = self._number or signal.SIGINT
        return 128 + self._number

    @contextmanager
    def terminable(self) -> Iterator[None]:
        """Raise ``KeyboardInterrupt`` at SIGTERM, too; only the main thread can."""

        def interrupt(number: int, _frame: object) -> None:
            self._number = number
            raise KeyboardInterrupt

        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = signal.signal(signal.SIGTERM, interrupt)
        try:
            yield
        finally:
            signal.signal(signal.SIGTERM, before)
