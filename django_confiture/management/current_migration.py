"""The migration that a dry run is at: what it does, how far it is, and how long it will still take.

Nothing here is a guess: expected times come from the last dry run, from samples, or from the
progress so far.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from time import monotonic
from typing import TYPE_CHECKING

from django_confiture.formatting import duration

if TYPE_CHECKING:
    from django_confiture.dry_run.results.observer import IndexBuild

_EARLY_MS = 1000.0
"""Earlier than this, the elapsed time says little about the rest."""


@dataclass
class Pace:
    """When something began, and how long it is expected to take."""

    began: float = field(default_factory=monotonic)
    expected_ms: float | None = None

    @property
    def elapsed_ms(self) -> float:
        """The time spent so far."""
        return (monotonic() - self.began) * 1000

    def took(self) -> str:
        """Return ``12.0 s of about 40.0 s``."""
        took = duration(self.elapsed_ms)
        return took if self.expected_ms is None else f"{took} of about {duration(self.expected_ms)}"

    def share(self, done: float, total: float | None) -> str:
        """Return ``25 %, about 3.0 min to go``, or the part of it that is known."""
        if not total or not 0 <= done <= total:
            return ""
        share = done / total
        shown = f"{share * 100:.0f} %"
        elapsed = self.elapsed_ms
        if elapsed < _EARLY_MS or not 0 < share < 1:
            return shown
        return f"{shown}, about {duration(elapsed * (1 - share) / share)} to go"


@dataclass
class RunningHook:
    """The running hook, and the progress that it reports."""

    shown: str
    pace: Pace = field(default_factory=Pace)
    share: str = ""

    def progressed(self, shown: str, done: int, total: int | None) -> None:
        """Note how far it is."""
        self.shown, self.share = shown, self.pace.share(done, total)


@dataclass
class CurrentMigration:
    """One migration while it runs."""

    label: str
    place: str
    """Its number and the total, such as ``2/5``."""
    pace: Pace
    step: str = ""
    hook: RunningHook | None = None
    statement: Pace | None = None
    """The pace of a statement with an expected time."""
    index: str = ""
    """The progress of an index that is being built."""
    _phase: str = ""
    _of_phase: Pace = field(default_factory=Pace)

    def begin(self, step: str) -> None:
        """Start the next operation."""
        self.step, self.statement, self.hook = step, None, None

    def build(self, build: IndexBuild | None) -> None:
        """Note the progress of an index; each phase of its build counts from 0."""
        if build is None:
            self.index = ""
            return
        if build.phase != self._phase:
            self._phase, self._of_phase = build.phase, Pace()
        share = self._of_phase.share(build.done, build.total)
        self.index = f"{build.phase.removeprefix('building index: ')} {share}".strip()

    def took(self) -> str:
        """Return the migration's time so far and the expected one."""
        return self.pace.took()

    def activity(self) -> tuple[str, ...]:
        """Return the progress of what is running, and its name."""
        statement = f"statement {self.statement.took()}" if self.statement is not None else ""
        if self.hook is not None:
            return statement, self.index, self.hook.share, self.hook.shown
        return statement, self.index, self.step or self.label
