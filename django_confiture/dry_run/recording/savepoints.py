"""Tracks the migration's own savepoints, and what a rollback to one undoes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from django_confiture.dry_run.measuring.lock_timeline import LockTimeline, Since
    from django_confiture.dry_run.measuring.prober import Prober
    from django_confiture.dry_run.measuring.relations import Observed
    from django_confiture.dry_run.sql.parsing.parser import Statement


@dataclass(frozen=True)
class _Savepoint:
    name: str
    locked: Mapping[int, Since]
    seen: Mapping[int, Observed]


class Savepoints:
    """Follows savepoints sent in any way: PostgreSQL frees the locks taken since, and so do we."""

    def __init__(self, prober: Prober, timeline: LockTimeline) -> None:
        self._prober = prober
        self._timeline = timeline
        self._open: list[_Savepoint] = []
        self._before = prober.last.relations

    def begun(self) -> None:
        """Note that a transaction has begun."""
        self._open = []
        self._before = self._prober.last.relations

    def ended(self, *, kept: bool) -> None:
        """Note that it was committed or rolled back."""
        if not kept:
            self._prober.go_back_to(self._before)
        self._open = []

    def sent(self, statement: Statement) -> None:
        """Note that SAVEPOINT, RELEASE or ROLLBACK TO was sent and succeeded."""
        name = statement.node.transaction_stmt.savepoint_name
        if statement.command == "SAVEPOINT":
            self._open.append(_Savepoint(name, self._timeline.since(), self._prober.last.relations))
            return
        place = max((i for i, each in enumerate(self._open) if each.name == name), default=None)
        if place is None:
            return
        if statement.command == "RELEASE":
            self._open = self._open[:place]
            return
        self._open = self._open[: place + 1]
        self._timeline.keep(self._open[place].locked)
        self._prober.go_back_to(self._open[place].seen)
