"""The state of a ``migrate`` in another shell, as ``confiture_status`` reports it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from django_confiture.formatting import one_line
from django_confiture.migrate.known_forecasts import Key, KnownForecast
from django_confiture.migrate.status.published import Migrate, connected_migrates
from django_confiture.migrate.watching import activity
from django_confiture.sql_text import first_word

if TYPE_CHECKING:
    import psycopg

SCHEMA_VERSION = 1
_WITHOUT_VALUES = {
    *("alter", "analyze", "cluster", "comment", "create", "drop"),
    *("lock", "reindex", "refresh", "truncate", "vacuum"),
}


@dataclass(frozen=True)
class Running:
    """A ``migrate`` whose turn it is."""

    migrate: Migrate
    doing: activity.Doing | None
    progress: activity.Progress | None
    wait: activity.Wait | None
    waiters: tuple[activity.Waiter, ...]
    forecast: Mapping[str, Any] | None

    @property
    def statement(self) -> str | None:
        """What it runs, without values of rows; None while it is in Python."""
        if self.doing is None or self.doing.state.startswith("idle") or not self.doing.statement:
            return None
        word = first_word(self.doing.statement)
        if word.lower() in _WITHOUT_VALUES:
            return one_line(self.doing.statement)
        return f"{word.upper()} ..."


@dataclass(frozen=True)
class Status:
    """The ``migrate`` commands of a database: the one that runs and those that wait."""

    database: str
    running: tuple[Running, ...]
    waiting: tuple[Migrate, ...]
    """Others that wait for their turn."""

    def as_json(self) -> dict[str, Any]:
        """Return what ``--format json`` prints."""
        return {
            "schema_version": SCHEMA_VERSION,
            "database": self.database,
            "running": [_running_json(each) for each in self.running],
            "waiting": [
                {"pid": each.pid, "process": each.process, "user": each.user}
                for each in self.waiting
            ],
        }


def read_status(
    raw: psycopg.Connection[Any], alias: str, forecasts: Mapping[Key, KnownForecast]
) -> Status:
    """Return the state of things in one database."""
    migrates = connected_migrates(raw)
    running = tuple(_running(each, raw, forecasts) for each in migrates if each.is_running)
    return Status(alias, running, tuple(each for each in migrates if not each.is_running))


def _running(
    migrate: Migrate, raw: psycopg.Connection[Any], forecasts: Mapping[Key, KnownForecast]
) -> Running:
    beacon = migrate.beacon
    if beacon is None:
        return Running(migrate, None, None, None, (), None)
    pid = beacon.pid
    known = forecasts.get((beacon.app_label, beacon.name, beacon.direction))
    return Running(
        migrate,
        activity.what_it_does(raw, pid),
        activity.progress_of(raw, pid),
        activity.what_it_waits_for(raw, pid),
        activity.who_waits_for_it(raw, pid),
        known.estimate if known is not None else None,
    )


def _running_json(running: Running) -> dict[str, Any]:
    migrate, beacon, doing = running.migrate, running.migrate.beacon, running.doing
    return {
        "process": migrate.process,
        "user": migrate.user,
        "pid": beacon.pid if beacon else None,
        "migration": f"{beacon.app_label}.{beacon.name}" if beacon else None,
        "direction": beacon.direction if beacon else None,
        "attempt": beacon.attempt if beacon else None,
        "number": beacon.number if beacon else None,
        "planned": beacon.planned if beacon else None,
        "elapsed_ms": _rounded(migrate.elapsed_ms) if beacon else None,
        "forecast": {
            name: _rounded(running.forecast[name]) for name in ("low_ms", "expected_ms", "high_ms")
        }
        if running.forecast
        else None,
        "state": doing.state if doing else None,
        "statement": running.statement,
        "statement_ms": _rounded(doing.statement_ms) if doing and running.statement else None,
        "progress": asdict(running.progress) if running.progress else None,
        "waits_for": _wait_json(running.wait) if running.wait else None,
        "blocks": [
            {**asdict(each), "waited_ms": round(each.waited_ms)} for each in running.waiters
        ],
    }


def _wait_json(wait: activity.Wait) -> dict[str, Any]:
    return {
        "relation": wait.relation,
        "mode": wait.mode,
        "waited_ms": round(wait.waited_ms),
        "blocked_by": [each.as_dict() for each in wait.blocked_by],
    }


def _rounded(ms: float | None) -> int | None:
    return None if ms is None else round(ms)
