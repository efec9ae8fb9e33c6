"""What a dry run offers to operations that sample what they would queue."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from django_confiture.backfills.forecasting.outlook import BackfillOutlook
from django_confiture.dry_run.interception.interceptor import Interceptor
from django_confiture.dry_run.recording.instruments import Instruments
from django_confiture.dry_run.recording.statement_probes import StatementProbes

if TYPE_CHECKING:
    from django.db.backends.base.base import BaseDatabaseWrapper


@dataclass(frozen=True)
class Sampling:
    """Lets an operation do work that is undone and not measured, and report what it tells."""

    instruments: Instruments
    interceptor: Interceptor

    @contextmanager
    def unrecorded(self) -> Iterator[None]:
        """Undo what is done inside: it takes no time, and writes no rows, of the migration."""
        measuring = self.instruments
        StatementProbes(measuring).boundary()
        with measuring.clock.stopped():
            undone = measuring.session.undone("confiture_unrecorded")
            with undone, self.interceptor.passing(measuring.session.raw):
                yield
            measuring.prober.recount()

    def note_backfill(self, outlook: BackfillOutlook) -> None:
        """Put what will come of a backfill into the report of the migration."""
        self.instruments.log.note_backfill(outlook)


@contextmanager
def offered_to_operations(
    wrapper: BaseDatabaseWrapper, instruments: Instruments, interceptor: Interceptor
) -> Iterator[None]:
    """Let operations find a :class:`Sampling` at their connection."""
    wrapper._confiture_rehearsal = Sampling(instruments, interceptor)  # type: ignore[attr-defined]
    try:
        yield
    finally:
        vars(wrapper).pop("_confiture_rehearsal", None)
