"""The sessions of this process, in all its threads: they don't count as others that wait."""

from __future__ import annotations

from typing import Any

from django.db import connections
from django.db.backends.signals import connection_created


class OwnSessions:
    """Knows the server processes of Django's connections, from its start to its end."""

    def __init__(self) -> None:
        self._pids: set[int] = set()

    def start(self) -> None:
        """Note the connections of this thread, and each that is opened from now on."""
        for each in connections.all(initialized_only=True):
            if each.connection is not None:
                self._note(connection=each)
        connection_created.connect(self._note)

    def stop(self) -> None:
        """Note no more; a second call changes nothing."""
        connection_created.disconnect(self._note)

    def pids(self) -> tuple[int, ...]:
        """Return the server processes."""
        return tuple(self._pids)

    def _note(self, *, connection: Any, **_: object) -> None:
        if connection.vendor == "postgresql":
            self._pids.add(connection.connection.info.backend_pid)
