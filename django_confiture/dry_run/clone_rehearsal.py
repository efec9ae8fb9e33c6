"""A dry run on a throw-away copy of the database, where every commit is real."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from time import perf_counter
from typing import TYPE_CHECKING, Any

from django_confiture.dry_run.interception.passthrough import AsWritten
from django_confiture.dry_run.isolation.other_aliases import OtherConnections
from django_confiture.dry_run.measuring.lock_sampler import LockWatch
from django_confiture.dry_run.recording.clone_recorder import CommittedRecorder
from django_confiture.dry_run.rehearsal import Rehearsal
from django_confiture.dry_run.results import Copy, Report
from django_confiture.dry_run.server.driver import check_names
from django_confiture.dry_run.server.second_connection import backend_pid
from django_confiture.dry_run.server.settings import database, server_settings
from django_confiture.dry_run.transactions.real import CommittedTransactions

if TYPE_CHECKING:
    from django.db.backends.base.base import BaseDatabaseWrapper

    from django_confiture.dry_run.clone.database import Clone
    from django_confiture.dry_run.plan.planned import Planned

_LOCK_TIMEOUT = "10s"
"""Nobody is held up on a copy, so this only ends a migration that waits for itself."""


class CopyRehearsal(Rehearsal):
    """Runs on the copy that the connection was pointed at; dropping that is not its business."""

    mode = "clone"
    _transactions: CommittedTransactions

    def __init__(self, wrapper: BaseDatabaseWrapper, clone: Clone, **options: Any) -> None:
        super().__init__(wrapper, watched=False, **options)
        self._clone = clone

    @contextmanager
    def open(self) -> Iterator[None]:
        """Record until the end; nothing is rolled back that the migrations don't roll back."""
        self._started = perf_counter()
        check_names()
        settings = {**server_settings(), "lock_timeout": _LOCK_TIMEOUT}
        self._transactions = CommittedTransactions(self._wrapper, settings)
        session = self._transactions.session
        self._database = replace(database(session, self._wrapper), name=self._clone.source.name)
        lock_timeout = session.value("SHOW lock_timeout")
        with self._transactions.taken_over(self._callbacks_dropped):
            watch = LockWatch(self._clone.maintenance, backend_pid(session))
            self.recorder = CommittedRecorder(
                self._wrapper, self._transactions, self._predict, watch
            )
            self._prepare(lock_timeout)
            others = OtherConnections(
                self._wrapper,
                self.recorder,
                self._interceptor,
                server_settings(),
                committed=True,
            )
            with self._capturing(AsWritten(self.recorder, self._transactions), others):
                yield

    def _callbacks_dropped(self, count: int) -> None:
        self.recorder.callbacks_dropped(count)

    def look_ahead(self, read: Callable[[], Planned]) -> None:
        """Look at nothing: on a copy nobody else is touched, and nothing piles up."""

    def told(self, report: Report) -> Report:
        """Return the report with what became of the copy; call it when that is over."""
        clone = self._clone
        copy = Copy(clone.name, clone.source.alias, clone.strategy, clone.duration_ms)
        return replace(
            report,
            clone=copy,
            rolled_back=clone.dropped,
            warnings=(*clone.notes, *report.warnings),
        )
