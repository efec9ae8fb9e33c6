"""What a ``migrate`` publishes for other shells: which migration runs, in which session.

It is the query that the connection with the lock ran last, which ``pg_stat_activity`` shows. There
is no table to clean up, and it is gone with the process.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from django_confiture.migrate.turns import one_at_a_time

if TYPE_CHECKING:
    import psycopg

_MIGRATES = """
SELECT a.pid, a.application_name, coalesce(a.usename::text, ''), coalesce(a.query, ''),
       extract(epoch FROM clock_timestamp() - a.query_start)::float8 * 1000,
       EXISTS (SELECT FROM pg_catalog.pg_locks l WHERE l.pid = a.pid AND l.granted
               AND l.locktype = 'advisory' AND l.classid = %s AND l.objsubid = 2)
FROM pg_catalog.pg_stat_activity a
WHERE a.datname = current_database() AND starts_with(a.application_name, %s) ORDER BY a.pid
"""

_HIDDEN = "<insufficient privilege>"
_POLLS_WITHIN_MS = 5_000
"""One that waits asks five times a second."""


@dataclass(frozen=True)
class Beacon:
    """What each attempt publishes when it starts."""

    database: str
    app_label: str
    name: str
    direction: str
    attempt: int
    number: int
    """Which migration of the plan it is, counted from 1."""
    planned: int
    pid: int
    """The server process that migrates."""
    ran_ms: int = 0
    """How long the attempt had been running when this was published."""

    def as_text(self) -> str:
        """Return the JSON that other sessions read."""
        return json.dumps(asdict(self))


@dataclass(frozen=True)
class Migrate:
    """A ``migrate`` that is connected."""

    pid: int
    application_name: str
    user: str
    beacon: Beacon | None
    """None as long as no migration has begun, and where the role may not see it."""
    elapsed_ms: float | None
    """Since the attempt began."""
    has_lock: bool

    @property
    def is_running(self) -> bool:
        """Whether it is at work: it has the lock, or has begun without one."""
        return self.has_lock or self.beacon is not None

    @property
    def process(self) -> str:
        """The host and the process on it."""
        return self.application_name.removeprefix(one_at_a_time.NAME).strip()


def connected_migrates(raw: psycopg.Connection[Any]) -> list[Migrate]:
    """Return every ``migrate`` of the database that is connected, at work or waiting."""
    rows = raw.execute(_MIGRATES, [one_at_a_time.CLASS, one_at_a_time.NAME])
    found = []
    for pid, application_name, user, query, ms, has_lock in rows:
        beacon = _parse_beacon(query)
        elapsed_ms = _elapsed(ms, beacon)
        migrate = Migrate(pid, application_name, user, beacon, elapsed_ms, has_lock)
        if migrate.is_running or _waits(query, ms):
            found.append(migrate)
    return found


def _waits(query: str, since_ms: float | None) -> bool:
    """Return whether a session waits for its turn; one of a pool may only have kept the name."""
    if query == _HIDDEN or since_ms is None:
        return True
    return one_at_a_time.WAITS in query and since_ms < _POLLS_WITHIN_MS


def _elapsed(since_published_ms: float | None, beacon: Beacon | None) -> float | None:
    if beacon is None or since_published_ms is None:
        return None
    return since_published_ms + beacon.ran_ms


def _parse_beacon(query: str) -> Beacon | None:
    """Parse a query's beacon; None if it was cut short, or this role may not see it."""
    _, _, text = query.partition("/* ")
    try:
        return Beacon(**json.loads(text.partition(" */")[0]))
    except (ValueError, TypeError):
        return None
