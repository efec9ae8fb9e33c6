"""Lets the server notice within a second that the process that migrates is gone.

By default it looks at the client's socket only when it has something to send: it completes the
statement of a ``migrate`` that was killed, and keeps its locks until then.
"""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import psycopg

_SETTING = "client_connection_check_interval = '1s'"
SET_FOR_TRANSACTION = f"SET LOCAL {_SETTING}"


def end_with_client(raw: psycopg.Connection[Any]) -> None:
    """Let a session of our own end its statement once its client is gone.

    Servers on Windows can't: there nothing changes.
    """
    with suppress(psycopg.Error):
        raw.execute(f"SET {_SETTING}")
