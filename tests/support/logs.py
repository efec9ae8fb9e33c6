"""What the app logged, as plain values to compare."""

from __future__ import annotations

import logging
from typing import Any

import pytest

_PLAIN = {*logging.makeLogRecord({}).__dict__, "message", "asctime", "taskName"}


def extra(record: logging.LogRecord) -> dict[str, Any]:
    """Return the fields that were passed as ``extra``."""
    return {key: value for key, value in record.__dict__.items() if key not in _PLAIN}


def events(caplog: pytest.LogCaptureFixture, *names: str) -> list[tuple[str, dict[str, Any]]]:
    """Return message and fields of what was logged, of all or of these messages."""
    return [
        (record.getMessage(), extra(record))
        for record in caplog.records
        if record.name.startswith("django_confiture")
        and (not names or record.getMessage() in names)
    ]
