"""Measures statements that can't run in our transaction, from outside, on a clone."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace

from django_confiture.dry_run.measuring.counters import Counters
from django_confiture.dry_run.measuring.effects import effects
from django_confiture.dry_run.measuring.lock_sampler import (
    LockWatch,
    Seen,
    everything,
    invalid_indexes,
    with_locks,
)
from django_confiture.dry_run.measuring.relations import Probe
from django_confiture.dry_run.recording.instruments import Instruments
from django_confiture.dry_run.recording.lock_notes import Predicted
from django_confiture.dry_run.recording.sections import SectionEntry
from django_confiture.dry_run.sql.parsing.parser import Statement
from django_confiture.dry_run.transactions.real import RealTransactions

_UNCHANGED = Counters()


class OutsideWatch:
    """Reads everything before and after a statement, and samples its locks meanwhile."""

    def __init__(
        self, instruments: Instruments, transactions: RealTransactions, watch: LockWatch
    ) -> None:
        self._session = instruments.session
        self._clock = instruments.clock
        self._catalog = instruments.catalog
        self._log = instruments.log
        self._prober = instruments.prober
        self._timeline = instruments.timeline
        self._transactions = transactions
        self._watch = watch

    @contextmanager
    def around(
        self,
        statement: Statement,
        predicted: Predicted,
        running: AbstractContextManager[SectionEntry],
    ) -> Iterator[SectionEntry]:
        """Watch what runs inside; ``running`` notes that it does."""
        before = everything(self._catalog, self._session, flushed=self._transactions.flushes)
        invalid = set(invalid_indexes(self._session))
        started = self._clock.now()
        self._watch.start()
        try:
            with running as entry:
                yield entry
        finally:
            seen = self._watch.stop().by(self._clock, started).with_predicted(predicted)
            if self._transactions.idle:
                self._note(entry, before, seen)
                self._note_invalid(statement, invalid)

    def _note(self, entry: SectionEntry, before: Probe, seen: Seen) -> None:
        statement = entry.statement
        after = everything(self._catalog, self._session, flushed=self._transactions.flushes)
        after = with_locks(after, before, seen.ever, self._catalog)
        entry.effects.append(effects(self._catalog, before, after, statement))
        seen.tell(self._timeline, self._catalog.relations, entry.shown)
        if statement.hides_code:
            self._log.note_warning(
                f"{statement.command} runs code that commits by itself. Its locks were looked at "
                "every 2 ms from another connection: a shorter one may be missing."
            )
        known = {**self._prober.last.relations, **after.relations}
        self._prober.start_from(calm(Probe(after.wal, known)))

    def _note_invalid(self, statement: Statement, before: set[str]) -> None:
        for name in set(invalid_indexes(self._session)) - before:
            self._log.note_warning(
                f"{statement.command} left the invalid index {name} behind, which costs every "
                "write and serves no query; drop it before the migration runs again."
            )


def calm(probe: Probe) -> Probe:
    """Return a reading as between two transactions: nothing locked, nothing counted."""
    return Probe(
        probe.wal,
        {
            oid: replace(seen, modes=frozenset(), counters=_UNCHANGED, index_reads={})
            if seen.modes or seen.counters != _UNCHANGED or seen.index_reads
            else seen
            for oid, seen in probe.relations.items()
        },
    )
