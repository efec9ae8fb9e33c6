"""Live progress on the line where ``migrate`` says "Applying ...".

Only on a terminal, and only once a migration takes longer than a second. When the migration ends,
the line is as Django has written it, so that its "OK" follows.
"""

from __future__ import annotations

import shutil
import threading
from collections.abc import Mapping
from time import monotonic
from typing import TYPE_CHECKING, Any, Protocol

from django_confiture.formatting import duration, one_line
from django_confiture.migrate.status.text import progress_text
from django_confiture.sql_text import first_word

if TYPE_CHECKING:
    from django_confiture.migrate.known_forecasts import Key, KnownForecast
    from django_confiture.migrate.watching.watch import Observation, Target

_FROM_S = 1.0
_EVERY_S = 0.2
_LEAST_ROOM = 20


class Output(Protocol):
    """The stream that ``migrate`` writes to."""

    def write(self, msg: str, style_func: Any = None, ending: str | None = None) -> Any:
        """Write a text, with a new line unless ``ending`` says otherwise."""

    def flush(self) -> Any:
        """Send to the terminal what was written."""


class TerminalLine:
    """Changes the last line of a terminal; the watch draws it, the migration ends it."""

    def __init__(self, output: Output, forecasts: Mapping[Key, KnownForecast]) -> None:
        self._output = output
        self._forecasts = forecasts
        self._lock = threading.Lock()
        self._target: Target | None = None
        self._prefix = ""
        self._is_drawn = False
        self._is_gone = False
        self._next = 0.0

    def begin(self, target: Target) -> None:
        """Draw what is observed of this attempt from now on."""
        verb = "Applying" if target.facts["direction"] == "forward" else "Unapplying"
        with self._lock:
            self._target = target
            self._prefix = f"  {verb} {target.migration}..."

    def end(self) -> None:
        """Leave the line as Django has written it."""
        with self._lock:
            self._target = None
            if self._is_drawn:
                self._draw(self._prefix)
                self._is_drawn = False

    def observed(self, observation: Observation) -> None:
        """Draw the line if it is due."""
        now = monotonic()
        with self._lock:
            target = self._target
            if self._is_gone or target is not observation.target:
                return
            if now < target.since + _FROM_S or now < self._next:
                return
            room = shutil.get_terminal_size().columns - 1 - len(self._prefix)
            if room < _LEAST_ROOM:
                return
            self._next = now + _EVERY_S
            self._is_drawn = True
            text = f" {self._text(observation, now - target.since)}"
            self._draw(self._prefix + (text if len(text) <= room else f"{text[: room - 3]}..."))

    def _draw(self, text: str) -> None:
        """Draw, or stop for good: neither a closed terminal nor its encoding is the migration's."""
        try:
            self._output.write(f"\r\x1b[K{text}", ending="")
            self._output.flush()
        except (OSError, ValueError):
            self._is_gone = True

    def _text(self, observation: Observation, elapsed_s: float) -> str:
        target = observation.target
        migration, direction = target.migration, target.facts["direction"]
        forecast = self._forecasts.get((migration.app_label, migration.name, direction))
        took = duration(elapsed_s * 1000)
        return "  ".join(
            part
            for part in (
                f"{took} of about {duration(forecast.estimate['expected_ms'])}"
                if forecast
                else took,
                _who_waits(observation),
                progress_text(observation.progress) if observation.progress else "",
                _statement_begins(observation),
            )
            if part
        )


def _who_waits(observation: Observation) -> str:
    said = []
    if (wait := observation.wait) is not None:
        blockers = ", ".join(each.application_name or each.user for each in wait.blocked_by[:2])
        said.append(f"waits for {blockers or 'a transaction'}")
    if waiters := observation.waiters:
        more = f" and {len(waiters) - 1} more" if len(waiters) > 1 else ""
        said.append(f"{waiters[0].name}{more} wait{'' if more else 's'} for it")
    return f"[{'; '.join(said)}]" if said else ""


def _statement_begins(observation: Observation) -> str:
    """Return the words with which the statement begins, as far as they have no values."""
    doing = observation.doing
    if doing is None or doing.state.startswith("idle"):
        return ""
    word = first_word(doing.statement).upper()
    if word in ("ALTER", "CREATE", "DROP", "REINDEX"):
        return one_line(doing.statement)[:60]
    return word
