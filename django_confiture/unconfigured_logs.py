"""Makes warnings readable where a project has configured no logging.

Python would print the bare event, such as ``lock_timeout_retry``, and tracebacks of errors that are
raised again anyway.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator

_LOGGER = logging.getLogger("django_confiture")
_STANDARD = frozenset(logging.makeLogRecord({}).__dict__) | {"message", "asctime", "taskName"}


class UnconfiguredLogs(logging.Handler):
    """Prints an event and its fields in one line, as long as no other handler would get them."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write to standard error, whatever it is by now."""
        if any(each is not self for each in _handlers(logging.getLogger(record.name))):
            return
        try:
            sys.stderr.write(f"{self.format(record)}\n")
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
    if not any(isinstance(each, UnconfiguredLogs) for each in _LOGGER.handlers):
        _LOGGER.addHandler(UnconfiguredLogs(logging.WARNING))


def configured_handlers(name: str) -> list[logging.Handler]:
    """Return the handlers that a project has given a logger."""
    found = logging.getLogger(name).handlers
    return [each for each in found if not isinstance(each, UnconfiguredLogs)]


def _handlers(logger: logging.Logger | None) -> Iterator[logging.Handler]:
    while logger is not None:
        yield from logger.handlers
        logger = logger.parent if logger.propagate else None


def _one_line(value: object) -> str:
    return " ".join(str(value).split())
