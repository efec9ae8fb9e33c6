"""Backfills as people read them: a table, a bar, and why one waits."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from django.db import Error, connections
from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from django_confiture.dry_run.server.driver import stream_behind
from django_confiture.formatting import duration

if TYPE_CHECKING:
    from django.core.management.base import OutputWrapper

    from django_confiture.backfills.status import BackfillStatus

EVERY = 1.0
"""Seconds between two looks on a terminal."""
EVERY_IN_LOG = 15.0
"""Seconds between two lines elsewhere."""

Look = Callable[[], Sequence["BackfillStatus"]]


def line(status: BackfillStatus) -> str:
    """Return a backfill in one line: state, rows, rate, remaining time, why it waits."""
    return f"{status.name}: {', '.join(_progress_words(status))}"


def table(statuses: Sequence[BackfillStatus]) -> Group:
    """Return several backfills, each with its name, and below it a bar and the facts."""
    return Group(*(each for status in statuses for each in (Text(status.name), _bar(status))))


def _bar(status: BackfillStatus) -> Table:
    grid = Table(box=None, pad_edge=False, show_header=False)
    grid.add_column(width=24)
    grid.add_column(overflow="fold")
    bar = ProgressBar(total=100, completed=status.percent or 0, width=24)
    grid.add_row(bar, Text(", ".join(_progress_words(status))))
    return grid


def console_of(stream: OutputWrapper) -> Console:
    """Return rich's console on a command's stream, without the command's own style."""
    return Console(file=stream_behind(stream), highlight=False, emoji=False)


@contextmanager
def watched(look: Look, stream: OutputWrapper, *, using: str) -> Iterator[None]:
    """Show what ``look`` sees while something else goes on, with its own connection."""
    ended = threading.Event()
    show, every = _shower(stream)

    def watch() -> None:
        try:
            while not ended.wait(every):
                try:
                    show(look())
                except Error:  # the next look connects again
                    connections[using].close()
        finally:
            connections[using].close()

    thread = threading.Thread(target=watch, name="confiture-backfills", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
        show([])


def watch(look: Look, stream: OutputWrapper, *, goes_on: Callable[[BackfillStatus], bool]) -> None:
    """Show what ``look`` sees until nothing goes on."""
    show, every = _shower(stream)
    pause = threading.Event()
    try:
        seen = look()
        while any(map(goes_on, seen)):
            show(seen)
            pause.wait(every)
            seen = look()
    finally:
        show([])


def _shower(stream: OutputWrapper) -> tuple[Callable[[Sequence[BackfillStatus]], None], float]:
    if not stream.isatty():

        def log(statuses: Sequence[BackfillStatus]) -> None:
            for status in statuses:
                stream.write(line(status), str)
            stream.flush()

        return log, EVERY_IN_LOG
    live = Live(console=console_of(stream), transient=True, auto_refresh=False)

    def draw(statuses: Sequence[BackfillStatus]) -> None:
        if not statuses:
            live.stop()
            return
        live.start()
        live.update(table(statuses), refresh=True)

    return draw, EVERY


def _progress_words(status: BackfillStatus) -> list[str]:
    facts = [status.state, _rows_done(status)]
    if status.rows_per_second is not None:
        facts.append(f"{status.rows_per_second:,.0f} rows/s")
    if status.remaining_seconds:
        facts.append(f"about {duration(status.remaining_seconds * 1000)} to go")
    if status.workers:
        facts.append(f"{status.workers} worker{'' if status.workers == 1 else 's'}")
    if status.throttled_by:
        facts.append(f"waits: {' and '.join(status.throttled_by)}")
    if status.last_error:
        facts.append(status.last_error)
    return facts


def _rows_done(status: BackfillStatus) -> str:
    if status.total is None:
        return "not begun"
    about = "" if status.state == "completed" else "about "
    percent = "" if status.percent is None else f" ({status.percent:g} %)"
    return f"{status.done:,} of {about}{status.total:,} rows{percent}"
