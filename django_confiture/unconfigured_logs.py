"""Makes warnings readable where a project has configured no logging.

Python would print the bare event, such as ``lock_timeout_retry``, and tracebacks of errors that are
raised again anyway.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from typing import Any

from django.db.models.signals import post_migrate, pre_migrate

from django_confiture import formatting, signals

_LOGGER = logging.getLogger("django_confiture")
_STANDARD = frozenset(logging.makeLogRecord({}).__dict__) | {"message", "asctime", "taskName"}


class UnconfiguredLogs(logging.Handler):
    """Prints an event and its fields in one line, as long as no other handler would get them."""

    def __init__(self, level: int) -> None:
        super().__init__(level)
        self._announces = False
        self._line_is_open = False

    def plan_begins(self, *, verbosity: int = 1, **_: object) -> None:
        """Note whether ``migrate`` prints; a receiver of ``pre_migrate``."""
        self._announces, self._line_is_open = verbosity > 0, False

    def migration_begins(self, *, context: Any, **_: object) -> None:
        """Note that ``migrate`` has printed "Applying ...", and will add "OK" to that."""
        self._line_is_open = self._announces and not context.dry_run

    def plan_ends(self, **_: object) -> None:
        """Note that its last line is complete; a receiver of ``post_migrate``."""
        self._line_is_open = False

    def emit(self, record: logging.LogRecord) -> None:
        """Write to standard error, whatever it is by now, on a separate line."""
        if any(each is not self for each in _handlers(logging.getLogger(record.name))):
            return
        begin, self._line_is_open = "\n" if self._line_is_open else "", False
        try:
            sys.stderr.write(f"{begin}{self.format(record)}\n")
        except (OSError, ValueError):  # a closed terminal must not end a migration
            self.handleError(record)

    def format(self, record: logging.LogRecord) -> str:
        """Return the line: event, fields, and what was raised; or a message that is in words."""
        event = record.getMessage()
        if " " in event:
            return event
        fields = {name: value for name, value in vars(record).items() if name not in _STANDARD}
        if record.exc_info and record.exc_info[1] is not None and "error" not in fields:
            fields["error"] = record.exc_info[1]
        said = ", ".join(f"{name}={_one_line(value)}" for name, value in fields.items())
        return f"{event}: {said}" if said else event


def install() -> None:
    """Add the handler to the package's logger, once."""
    if any(isinstance(each, UnconfiguredLogs) for each in _LOGGER.handlers):
        return
    handler = UnconfiguredLogs(logging.WARNING)
    _LOGGER.addHandler(handler)
    pre_migrate.connect(handler.plan_begins, dispatch_uid="django_confiture.plan_begins")
    signals.migration_started.connect(handler.migration_begins)
    post_migrate.connect(handler.plan_ends, dispatch_uid="django_confiture.plan_ends")


def configured_handlers(name: str) -> list[logging.Handler]:
    """Return the handlers that a project has given a logger."""
    found = logging.getLogger(name).handlers
    return [each for each in found if not isinstance(each, UnconfiguredLogs)]


def _handlers(logger: logging.Logger | None) -> Iterator[logging.Handler]:
    while logger is not None:
        yield from logger.handlers
        logger = logger.parent if logger.propagate else None


def _one_line(value: object) -> str:
    """Return a value in words: a session is its fields, and not Python's dictionary."""
    if isinstance(value, list | tuple):
        return "; ".join(map(_one_line, value)) or "none"
    if isinstance(value, dict):
        return " ".join(f"{key} {_one_line(each)}" for key, each in value.items() if each)
    return formatting.one_line(value)
