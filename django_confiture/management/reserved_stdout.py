"""Standard output is for a command's own report: what the project prints goes to standard error."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout, suppress

_STDOUT, _STDERR = 1, 2


@contextmanager
def reserved_stdout() -> Iterator[None]:
    """Send to standard error what is printed inside the block, also by processes that it starts."""
    with redirect_stdout(sys.stderr), _redirected_descriptor():
        yield


@contextmanager
def _redirected_descriptor() -> Iterator[None]:
    """Let descriptor 1, which child processes and older references write to, be that of stderr."""
    _flush()
    try:
        kept = os.dup(_STDOUT)
    except OSError:  # closed, as under a service manager
        yield
        return
    try:
        with suppress(OSError):
            os.dup2(_STDERR, _STDOUT)
        yield
    finally:
        _flush()
        os.dup2(kept, _STDOUT)
        os.close(kept)


def _flush() -> None:
    if sys.__stdout__ is not None:  # None without a console on Windows
        with suppress(OSError, ValueError):  # ValueError: closed
            sys.__stdout__.flush()
