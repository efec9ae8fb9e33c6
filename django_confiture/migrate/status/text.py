"""The state of a ``migrate`` in words, on lines of at most 80 columns."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from django_confiture.formatting import count, duration

if TYPE_CHECKING:
    from django_confiture.migrate.status.state import Running, Status
    from django_confiture.migrate.watching.activity import Blocker, Progress, Wait, Waiter

WIDTH = 80
_MOST = 5
"""At most this many sessions are named."""


def as_text(status: Status) -> str:
    """Return the lines of ``confiture_status``."""
    lines = [line for each in status.running for line in _running(each, status.database)]
    if not status.running:
        lines.append(f"No migrate is running on {status.database!r}.")
    lines += [
        f"  then    {each.process or each.user}, pid {each.pid}, waits for its turn"
        for each in status.waiting
    ]
    return "\n".join(as_line(line) for line in lines)


def _running(running: Running, database: str) -> Iterator[str]:
    migrate, beacon = running.migrate, running.migrate.beacon
    where = f"{database}: migrate of {migrate.process or migrate.user}"
    if beacon is None:
        yield f"{where}, between migrations"
        return
    yield f"{where}, {beacon.number} of {beacon.planned}"
    back = ", backwards" if beacon.direction == "backward" else ""
    again = f", attempt {beacon.attempt}" if beacon.attempt > 1 else ""
    yield f"  {beacon.app_label}.{beacon.name}{back}{again}"
    yield f"  took    {duration(migrate.elapsed_ms or 0)}{_of_forecast(running)}"
    if running.doing is None:
        yield f"  runs    nothing: its session, pid {beacon.pid}, is gone"
    elif running.statement is None:
        yield "  runs    Python, between two statements"
    else:
        since = duration(running.doing.statement_ms or 0)
        yield f"  runs    for {since}: {running.statement}"
    if running.progress is not None:
        yield f"  at      {progress_text(running.progress)}"
    if running.wait is not None:
        yield from _wait(running.wait)
    if running.waiters:
        yield from _blocks(running.waiters)


def _of_forecast(running: Running) -> str:
    forecast = running.forecast
    if not forecast:
        return ""
    return f" of {duration(forecast['low_ms'])} to {duration(forecast['high_ms'])} forecast"


def progress_text(progress: Progress) -> str:
    """Return a command's progress in words."""
    share = f" {100 * progress.done // progress.total} %" if progress.total else ""
    return f"{progress.phase or progress.command}{share}"


def _wait(wait: Wait) -> Iterator[str]:
    what = f"{wait.mode} on {wait.relation}" if wait.relation else "a transaction to end"
    yield f"  waits   for {what}, for {duration(wait.waited_ms)}"
    yield from (f"          {_blocker(each)}" for each in wait.blocked_by[:_MOST])


def _blocker(blocker: Blocker) -> str:
    since = blocker.transaction_ms
    return ", ".join(
        part
        for part in (
            blocker.application_name or blocker.user,
            f"pid {blocker.pid}" if blocker.pid else "",
            blocker.state or "",
            f"its transaction {duration(since)}" if since is not None else "",
        )
        if part
    )


def _blocks(waiters: tuple[Waiter, ...]) -> Iterator[str]:
    longest = duration(max(each.waited_ms for each in waiters))
    yield f"  blocks  {count(len(waiters), 'session')}, the longest for {longest}"
    for each in waiters[:_MOST]:
        where = f", {each.relation}" if each.relation else ""
        yield f"          {each.name}, pid {each.pid}, {duration(each.waited_ms)}{where}"


def as_line(line: str) -> str:
    """Return a line that fits the terminal, cut where it is longer."""
    return line if len(line) <= WIDTH else f"{line[: WIDTH - 3]}..."
