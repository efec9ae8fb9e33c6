"""Shows the progress of a dry run on standard error: a live line, or lines for a log."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.live import Live
from rich.text import Text

from django_confiture import signals
from django_confiture.dry_run.estimates import whole_ms
from django_confiture.dry_run.results.observer import Observer
from django_confiture.dry_run.server.driver import stream_behind
from django_confiture.formatting import count, duration, local_time
from django_confiture.management.current_migration import CurrentMigration, Pace, RunningHook
from django_confiture.reports.phrases import preflight as preflight_phrases
from django_confiture.reports.phrases.headline import waited
from django_confiture.reports.phrases.wording import visible

if TYPE_CHECKING:
    from django.core.management.base import OutputWrapper
    from django.db.migrations.migration import Migration

    from django_confiture.dry_run.results import MigrationResult, Preflight, Sampled, Waiter
    from django_confiture.dry_run.results.observer import IndexBuild
    from django_confiture.history.stored_forecasts import LastDryRun

QUIET_S = 30.0
"""The longest silence in a log: some build servers end a job that prints nothing."""


class Progress(Observer):
    """Prints what it is told; on a terminal, also what is running."""

    def __init__(self, stream: OutputWrapper, verbosity: int) -> None:
        self._stream = stream
        self._on = verbosity >= 1
        self._live: Live | None = None
        self._lock = threading.Lock()
        self._current: CurrentMigration | None = None
        """What is running."""
        self._waiting: Sequence[Waiter] = ()
        self.last: LastDryRun | None = None
        """The last dry run, which expected times come from."""
        self._line_open = False
        """Whether the line of a migration is not finished yet."""

    @contextmanager
    def shown(self) -> Iterator[None]:
        """Listen to hooks, and keep the line up to date."""
        if not self._on:
            yield
            return
        told: dict[Any, Callable[..., None]] = {
            signals.hook_started: self._hook_started,
            signals.hook_progress: self._hook_progressed,
            signals.hook_finished: self._hook_finished,
        }
        for each, receiver in told.items():
            each.connect(receiver)
        try:
            with self._on_terminal() if self._stream.isatty() else self._in_log():
                yield
        finally:
            for each, receiver in told.items():
                each.disconnect(receiver)

    @contextmanager
    def _on_terminal(self) -> Iterator[None]:
        # Without the wrapper's own style, which is for errors.
        console = Console(file=stream_behind(self._stream), highlight=False, emoji=False)
        with Live(get_renderable=self._now, console=console, transient=True) as self._live:
            try:
                yield
            finally:
                self._current = None
        self._live = None

    @contextmanager
    def _in_log(self) -> Iterator[None]:
        ended = threading.Event()

        def beat() -> None:
            while not ended.wait(QUIET_S):
                with self._lock:
                    if self._line_open:
                        self._print(f"\n    {self._now().plain.strip()}", ending="")

        thread = threading.Thread(target=beat, name="confiture-progress", daemon=True)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()

    def say(self, line: str) -> None:
        """Print a line."""
        if not self._on:
            return
        with self._lock:
            if self._live is not None:
                self._live.console.print(Text(line), soft_wrap=True)
            else:
                self._print(line)

    def _print(self, text: str, ending: str = "\n") -> None:
        self._stream.write(text, _unstyled, ending=ending)
        self._stream.flush()

    def _now(self) -> Text:
        if (current := self._current) is None:
            return Text("")
        place = current.place if self._live is not None else ""
        parts = [place, current.took(), _blocked(self._waiting), *current.activity()]
        return Text("  " + "  ".join(filter(None, parts)), no_wrap=True, overflow="ellipsis")

    # Told by the dry run.

    def planned(self, plan: Sequence[tuple[Migration, bool]]) -> None:
        """Print how long it took last time."""
        known = self.last.durations_ms if self.last is not None else {}
        forwards = [str(each) for each, backwards in plan if not backwards]
        took = [known[label] for label in forwards if label in known]
        if self.last is None or not took:
            return
        what = "It" if len(took) == len(forwards) else f"{len(took)} of {len(forwards)} migrations"
        when = f"{local_time(self.last.made_at):%Y-%m-%d %H:%M}"
        self.say(f"  {what} took {duration(sum(took))} in the last dry run here, of {when}.")

    def preflighted(self, preflight: Preflight) -> None:
        """Print what is about to be touched."""
        for line in preflight_phrases.lines(preflight):
            self.say(line)

    def migration_started(self, label: str, *, backwards: bool, number: int, total: int) -> None:
        """Begin the line of a migration."""
        label = f"{label} (backwards)" if backwards else label
        expected_ms = self.last.durations_ms.get(label) if self.last is not None else None
        self._current = CurrentMigration(label, f"{number}/{total}", Pace(expected_ms=expected_ms))
        if self._on and self._live is None:
            with self._lock:
                self._print(f"  Rehearsing {label}...", ending="")
                self._line_open = True

    def operation_started(self, index: int, description: str) -> None:
        """Note which operation runs now."""
        if (current := self._current) is not None:
            current.begin(f"{index + 1}. {visible(description)}")

    def sampled(self, sampled: Sampled | None) -> None:
        """Note how long the statement will take."""
        expected_ms = whole_ms(sampled) if sampled is not None else None
        if (current := self._current) is not None:
            current.statement = Pace(expected_ms=expected_ms) if expected_ms else None

    def building_index(self, build: IndexBuild | None) -> None:
        """Note how far PostgreSQL has built an index."""
        if (current := self._current) is not None:
            current.build(build)

    def waited_for(self, waiters: Sequence[Waiter]) -> None:
        """Note who is being blocked."""
        self._waiting = waiters

    def gave_way(self, waiters: Sequence[Waiter]) -> None:
        """Print at once which sessions it gives way to: Python code may take a while to end."""
        for each in waiters:
            self.say(f"{self._new_line()}  Giving way to {visible(waited(each))}.")

    def migration_finished(self, result: MigrationResult) -> None:
        """End the migration's line with how it went."""
        if self._live is not None and self._current is not None:
            self.say(f"  Rehearsing {self._current.label}... {_said(result)}")
        elif self._on:
            with self._lock:
                self._print(f" {_said(result)}")
                self._line_open = False
        self._current = None

    def _new_line(self) -> str:
        return "\n" if self._line_open else ""

    # Told by hooks.

    def _hook_started(self, *, hook: str, phase: str, **_: object) -> None:
        if (current := self._current) is not None:
            current.hook = RunningHook(f"{hook} ({phase})")

    def _hook_progressed(self, *, hook: str, done: int, total: int | None, **_: object) -> None:
        if (current := self._current) is not None and current.hook is not None:
            of = f" of {total:,}" if total is not None else ""
            current.hook.progressed(f"{hook}: {done:,}{of}", done, total)

    def _hook_finished(self, **_: object) -> None:
        if (current := self._current) is not None:
            current.hook = None


def _said(result: MigrationResult) -> str:
    return result.outcome.replace("_", " ")


def _blocked(waiters: Sequence[Waiter]) -> str:
    if not waiters:
        return ""
    longest = max(waiters, key=lambda each: each.waited_ms)
    others = f" and {count(len(waiters) - 1, 'other')}" if len(waiters) > 1 else ""
    return f"[{visible(longest.application) or longest.pid}{others} waits for it]"


def _unstyled(text: str) -> str:
    return text  # without the stream's own style, which is for errors
