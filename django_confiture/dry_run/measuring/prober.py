"""What the server says between two statements: the last reading, and the one after it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from psycopg.pq import TransactionStatus

from django_confiture.dry_run.measuring.effects import Effects, effects, merge
from django_confiture.dry_run.measuring.relations import Probe
from django_confiture.dry_run.sql.parser import Kind

if TYPE_CHECKING:
    from django_confiture.dry_run.measuring.relations import Catalog, Observed
    from django_confiture.dry_run.measuring.stopwatch import Clock
    from django_confiture.dry_run.server.side_channel import Session
    from django_confiture.dry_run.sql.parser import Statement

_FRESH_S = 0.005
"""A reading so young is also that before the next statement: a round trip takes a tenth of it."""


class Prober:
    """Reads locks, files, counters and the WAL's position of one session."""

    def __init__(self, session: Session, catalog: Catalog, clock: Clock) -> None:
        self._session = session
        self._catalog = catalog
        self._clock = clock
        self.last = catalog.at_start()
        """The last reading, completed with what the earlier ones know."""
        self.unseen = 0
        """Runs of statements since then."""
        self.wrote = False
        """Whether the transaction's COMMIT may have deferred constraints to check."""
        self._read_at: tuple[Probe, float] | None = None
        """The last reading after a statement, and when it was."""

    @property
    def possible(self) -> bool:
        """Whether anything can be asked now."""
        usable = self._session.status == TransactionStatus.INTRANS
        return usable and not self._session.in_pipeline

    def before(self, savepoint: str, *, probing: bool) -> None:
        """Set the savepoint and read the WAL's position, in one round trip or none."""
        if probing and not self._fresh:
            self.last = Probe(self._catalog.wal(savepoint), self.last.relations)
        elif savepoint:
            self._session.query(savepoint)

    @property
    def _fresh(self) -> bool:
        if self._read_at is None or self.unseen:
            return False
        probe, when = self._read_at
        return probe is self.last and self._clock.now() - when < _FRESH_S

    def after(
        self,
        release: str = "",
        statement: Statement | None = None,
        predicted: Sequence[tuple[int, str]] = (),
    ) -> Effects:
        """Return what has happened since the last reading."""
        objects = statement is None or statement.kind not in (Kind.DML, Kind.SELECT)
        now = merge(self.last, self._catalog.probe(release, objects=objects))
        runs = max(1, self.unseen)
        measured = effects(self._catalog, self.last, now, statement, predicted, runs)
        self.last = now
        self._read_at = now, self._clock.now()
        self.unseen = 0
        self.wrote = self.wrote or bool(measured.writes)
        return measured

    def go_back_to(self, then: Mapping[int, Observed]) -> None:
        """Take up what was held then, by ``last.relations``; counters never go back."""
        relations = {
            oid: now
            if (old := then.get(oid, now)) is now
            else replace(old, counters=now.counters, index_reads=now.index_reads)
            for oid, now in self.last.relations.items()
        }
        self.last = Probe(self.last.wal, relations)

    def recount(self) -> None:
        """Take what was counted meanwhile for nobody's."""
        self.last = self._catalog.recounted(self.last)

    def commit_checked(self) -> None:
        """Keep what COMMIT read from being what the next statement did."""
        if self.wrote:
            self.unseen += 1
            self.wrote = False
