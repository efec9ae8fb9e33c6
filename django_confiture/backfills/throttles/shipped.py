"""Throttles: conditions that hold a backfill between two batches, such as replication lag.

A throttle is made from ``CONFITURE["BACKFILLS"]["THROTTLES"]`` with its ``OPTIONS``. Its
``reason`` is asked between batches, at most once a second, and says why the backfill has to wait.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from time import monotonic
from typing import Any, ClassVar

from django.db import connections
from django.utils import timezone
from django.utils.module_loading import import_string

from django_confiture import conf
from django_confiture.backfills.throttles import options as throttle_options


@dataclass(frozen=True)
class Moment:
    """What a throttle may look at."""

    using: str
    """The database alias that is backfilled."""
    table: str
    """The table's name, as PostgreSQL quotes it."""
    last_batch_seconds: float
    """How long this worker's last batch took; 0 before the first."""
    since_last_batch: float
    """Seconds since it ended."""


class Throttle(ABC):
    """Something that may hold a backfill. Its constructor takes its ``OPTIONS``."""

    name: ClassVar[str]
    """What ``throttled_by`` says."""

    cached_for: ClassVar[float] = 1.0
    """Seconds for which an answer holds."""

    @abstractmethod
    def reason(self, moment: Moment) -> str:
        """Return why the backfill has to wait; ``""`` where it need not."""


@dataclass(frozen=True)
class _Reading:
    """Where the primary and its slowest replica were, in bytes of WAL."""

    at: float
    written: int
    replayed: int


class ReplicationLag(Throttle):
    """A replica is more than ``limit`` behind, or will be once it has replayed what is written.

    A replica that has stopped replaying keeps the last lag it had in ``pg_stat_replication``, and
    one that is slow shows its lag when it is too late. So the lag is also taken from when the
    primary was where the replica is now, and from how long the rest takes at its pace of late.
    ``lag`` names a function for databases that hide their replicas: it returns seconds, or None.
    """

    name = "replication_lag"
    cached_for = 0.25  # in a second much more can be written than a slow replica replays

    def __init__(self, limit: str = "5s", lag: str | Callable[[], float | None] = "") -> None:
        self._limit = throttle_options.seconds(limit, "limit")
        self._lag = import_string(lag) if isinstance(lag, str) and lag else lag
        self._read: deque[_Reading] = deque()

    def reason(self, moment: Moment) -> str:
        """Return the lag where it is over the limit."""
        lag = (self._lag() or 0.0) if callable(self._lag) else self._measured(moment.using)
        if lag <= self._limit:
            return ""
        return f"a replica is {lag:.1f} s behind, the limit is {self._limit:g} s"

    def _measured(self, using: str) -> float:
        rows = _fetched(
            using,
            "SELECT pg_catalog.pg_wal_lsn_diff(pg_catalog.pg_current_wal_insert_lsn(), '0/0'),"
            " pg_catalog.pg_wal_lsn_diff(replay_lsn, '0/0'), extract(epoch FROM replay_lag)"
            " FROM pg_catalog.pg_stat_replication"
            " WHERE state = 'streaming' AND replay_lsn IS NOT NULL",
        )
        if not rows:
            self._read.clear()
            return 0.0
        written = int(rows[0][0])
        replayed = min(int(position) for _, position, _ in rows)
        self._read.append(_Reading(monotonic(), written, replayed))
        if replayed >= written:  # what it was told last may be ten seconds old
            self._read = deque(list(self._read)[-1:])
            return 0.0
        told = max(float(lag or 0) for *_, lag in rows)
        return max(told, *lags(list(self._read)))


def lags(readings: Sequence[_Reading]) -> tuple[float, float]:
    """Return for how long a replica has been behind, and for how long it will be, in seconds.

    The readings are those since it was level last.
    """
    now = readings[-1]
    if now.replayed >= now.written:
        return 0.0, 0.0
    passed = [each for each in readings if each.written <= now.replayed] or list(readings[:1])
    recent = [each for each in readings if now.at - each.at <= _PACE_OF] or list(readings[-1:])
    elapsed, replayed = now.at - recent[0].at, now.replayed - recent[0].replayed
    if elapsed < _LEAST:
        return now.at - passed[-1].at, 0.0
    pace = replayed / elapsed
    return now.at - passed[-1].at, (now.written - now.replayed) / pace if pace else math.inf


_PACE_OF = 5.0
"""Seconds over which a replica's pace is taken."""
_LEAST = 0.5
"""Fewer seconds say nothing of it."""


class Autovacuum(Throttle):
    """Autovacuum works on the table: it and the backfill would hinder each other.

    It is waited for at most ``at_most``, as it may take hours.
    """

    name = "autovacuum"

    def __init__(self, at_most: str = "10min") -> None:
        self._at_most = throttle_options.seconds(at_most, "at_most")
        self._since: float | None = None

    def reason(self, moment: Moment) -> str:
        """Return that autovacuum is at work."""
        rows = _fetched(
            moment.using,
            "SELECT pid FROM pg_catalog.pg_stat_progress_vacuum JOIN pg_catalog.pg_stat_activity"
            " USING (pid) WHERE backend_type = 'autovacuum worker'"
            " AND relid = pg_catalog.to_regclass(%s)",
            moment.table,
        )
        if not rows:
            self._since = None
            return ""
        self._since = self._since or monotonic()
        if monotonic() - self._since > self._at_most:
            return ""
        return f"autovacuum is at work on {moment.table}"


class WalArchiving(Throttle):
    """More than ``max_segments`` WAL segments wait to be archived."""

    name = "wal_archiving"

    def __init__(self, max_segments: int = 42) -> None:
        self._max = throttle_options.number(max_segments, "max_segments")

    def reason(self, moment: Moment) -> str:
        """Return how many segments wait."""
        ((waiting,),) = _fetched(
            moment.using,
            "WITH last AS (SELECT last_archived_wal AS name, setting::numeric AS size"
            " FROM pg_catalog.pg_stat_archiver, pg_catalog.pg_settings"
            " WHERE pg_settings.name = 'wal_segment_size')"
            " SELECT CASE WHEN pg_catalog.current_setting('archive_mode') = 'off' THEN 0 ELSE"
            " pg_catalog.floor(pg_catalog.pg_wal_lsn_diff(pg_catalog.pg_current_wal_lsn(), '0/0')"
            " / size) - 1 - (('x' || substr(name, 9, 8))::bit(32)::bigint * 4294967296 / size"
            " + ('x' || substr(name, 17, 8))::bit(32)::bigint) END FROM last",
        )
        if waiting is None or waiting <= self._max:
            return ""
        return f"{int(waiting)} WAL segments wait to be archived, the limit is {self._max}"


class OldestTransaction(Throttle):
    """A transaction has been open for longer than ``limit``: what is updated can't be vacuumed."""

    name = "oldest_transaction"

    def __init__(self, limit: str = "5min") -> None:
        self._limit = throttle_options.seconds(limit, "limit")

    def reason(self, moment: Moment) -> str:
        """Return the session and the age of its transaction."""
        rows = _fetched(
            moment.using,
            "SELECT pid, extract(epoch FROM pg_catalog.clock_timestamp() - xact_start)"
            " FROM pg_catalog.pg_stat_activity WHERE datname = pg_catalog.current_database()"
            " AND backend_type = 'client backend' AND pid <> pg_catalog.pg_backend_pid()"
            " AND xact_start < pg_catalog.clock_timestamp() - %s * interval '1 second'"
            " ORDER BY xact_start LIMIT 1",
            self._limit,
        )
        return "".join(
            f"session {pid} has had a transaction open for {age:.0f} s,"
            f" the limit is {self._limit:g} s"
            for pid, age in rows
        )


class ActiveSessions(Throttle):
    """More than ``limit`` other sessions are at work."""

    name = "active_sessions"

    def __init__(self, limit: int = 50) -> None:
        self._limit = throttle_options.number(limit, "limit")

    def reason(self, moment: Moment) -> str:
        """Return how many sessions are at work."""
        ((active,),) = _fetched(
            moment.using,
            "SELECT count(*) FROM pg_catalog.pg_stat_activity WHERE state = 'active'"
            " AND backend_type = 'client backend' AND pid <> pg_catalog.pg_backend_pid()",
        )
        if active <= self._limit:
            return ""
        return f"{active} sessions are at work, the limit is {self._limit}"


class ShareOfTime(Throttle):
    """The backfill works for at most ``share`` of the time."""

    name = "share_of_time"
    cached_for = 0.0

    def __init__(self, share: float = 0.5) -> None:
        if not 0 < share <= 1:
            raise conf.SettingError(f"share is {share!r}", "write a number above 0 and up to 1")
        self._share = share

    def reason(self, moment: Moment) -> str:
        """Return that it is not yet time for the next batch."""
        pause = moment.last_batch_seconds * (1 / self._share - 1)
        if moment.since_last_batch >= pause:
            return ""
        return f"it works for {self._share:.0%} of the time"


class HoursOfDay(Throttle):
    """It is not between two times of day, such as ``"22:00"`` and ``"06:00"``."""

    name = "hours_of_day"

    def __init__(self, start: str, end: str, timezone: str = "") -> None:
        self._start = throttle_options.clock(start, "start")
        self._end = throttle_options.clock(end, "end")
        self._zone = throttle_options.time_zone(timezone)

    def reason(self, moment: Moment) -> str:  # noqa: ARG002 - the same for every backfill
        """Return when it may go on."""
        return self.reason_at(datetime.now(self._zone or timezone.get_current_timezone()))

    def reason_at(self, now: datetime) -> str:
        """Return why the backfill has to wait at ``now``; ``""`` where it need not."""
        at = now.time()
        if self._start <= self._end:
            within = self._start <= at < self._end
        else:
            within = at >= self._start or at < self._end
        return "" if within else f"it runs from {self._start:%H:%M} to {self._end:%H:%M}"


def _fetched(using: str, sql: str, *params: Any) -> list[tuple[Any, ...]]:
    with connections[using].cursor() as cursor:
        cursor.execute(sql, params)
        found: list[tuple[Any, ...]] = cursor.fetchall()
    return found
