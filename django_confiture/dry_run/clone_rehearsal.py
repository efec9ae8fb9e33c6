"""A dry run on a clone, a throw-away copy of the database: every commit is real there."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import partial
from typing import Any, Literal

import psycopg
from django.db.backends.base.base import BaseDatabaseWrapper
from psycopg.pq import TransactionStatus

from django_confiture.dry_run.clone.database import Clone
from django_confiture.dry_run.interception.interceptor import Interceptor
from django_confiture.dry_run.interception.passthrough import Passthrough
from django_confiture.dry_run.isolation.other_aliases import OtherConnections
from django_confiture.dry_run.measuring.lock_sampler import LockWatch
from django_confiture.dry_run.measuring.nontransactional import versions_written
from django_confiture.dry_run.measuring.stopwatch import Stopwatch
from django_confiture.dry_run.plan.planned import Planned
from django_confiture.dry_run.recording.clone_recorder import CloneRecorder
from django_confiture.dry_run.recording.instruments import Instruments, instruments
from django_confiture.dry_run.recording.records import RecordedMigration
from django_confiture.dry_run.rehearsal import Rehearsal
from django_confiture.dry_run.results import CloneResult, Report, SequenceMove, Waiter
from django_confiture.dry_run.results.error_classes import is_no_fault, original_error
from django_confiture.dry_run.server.driver import check_names
from django_confiture.dry_run.server.second_connection import backend_pid
from django_confiture.dry_run.server.settings import database, server_settings
from django_confiture.dry_run.settings import DryRunSettings, dry_run_settings
from django_confiture.dry_run.stage import Aside, Opened, aside, catching
from django_confiture.dry_run.transactions.real import RealTransactions

_LOCK_TIMEOUT = "10s"
"""A clone has no other sessions, so this only ends a migration that waits for itself."""


def clone_rehearsal(
    wrapper: BaseDatabaseWrapper,
    clone: Clone,
    *,
    settings: DryRunSettings | None = None,
    **options: Any,
) -> Rehearsal:
    """Return the rehearsal on a clone; ``options`` are those of :class:`Rehearsal`."""
    stage = CloneStage(wrapper, clone, settings or dry_run_settings())
    return Rehearsal(wrapper, stage, **options)


def with_clone(report: Report, clone: Clone) -> Report:
    """Return the report with what became of the clone; call it once the clone is dropped."""
    return replace(
        report,
        clone=CloneResult(clone.name, clone.source.alias, clone.strategy, clone.duration_ms),
        rolled_back=clone.dropped,
        warnings=(*clone.notes, *report.warnings),
    )


class CloneStage:
    """Rehearses on the clone that the connection was pointed at; the caller drops that."""

    mode: Literal["clone"] = "clone"
    waiters: tuple[Waiter, ...] = ()
    """On a clone no other session is there."""
    dead_bytes = 0

    def __init__(
        self, wrapper: BaseDatabaseWrapper, clone: Clone, settings: DryRunSettings
    ) -> None:
        self._wrapper = wrapper
        self._clone = clone
        self._settings = replace(settings, max_dead_space=None)  # it goes with the clone
        self._clock = Stopwatch()
        self._interceptor = Interceptor()
        self._others: OtherConnections | None = None

    @contextmanager
    def open(self) -> Iterator[Opened]:
        """Catch until the end; nothing is rolled back that the migrations don't roll back."""
        check_names()
        settings = {**server_settings(self._settings), "lock_timeout": _LOCK_TIMEOUT}
        transactions = RealTransactions(self._wrapper, settings, self._clock)
        session = transactions.session
        self._transactions = transactions
        found = replace(database(session, self._wrapper), name=self._clone.source.name)
        lock_timeout = session.value("SHOW lock_timeout")
        with transactions.taken_over():
            measuring = instruments(session, self._clock, self._settings)
            with self._catching(transactions, measuring) as others:
                yield Opened(
                    measuring,
                    found,
                    has_lock_timeout=lock_timeout != "0",
                    aside=partial(self._aside, measuring),
                    settle=others.settle,
                )

    @contextmanager
    def _aside(self, measuring: Instruments) -> Iterator[Aside]:
        """Send what is sent inside unrecorded; what it counted is no statement's that follows."""
        written = self._versions_written()
        with aside(measuring, self._interceptor) as done:
            yield done
            now = self._versions_written()
        if written is not None and now is not None:
            measuring.catalog.own_dead += now - written

    def _versions_written(self) -> Counter[tuple[int, int | None]] | None:
        """Return the versions of rows written so far; None inside a transaction."""
        self._transactions.flush()
        if not (self._transactions.flushes and self._transactions.idle):
            return None
        with self._clock.stopped():
            return versions_written(self._transactions.session)

    @contextmanager
    def _catching(
        self, transactions: RealTransactions, measuring: Instruments
    ) -> Iterator[OtherConnections]:
        watch = LockWatch(self._clone.maintenance, backend_pid(measuring.session))
        recorder = CloneRecorder(measuring, transactions, watch)
        transactions.subscribe(recorder)
        self._others = OtherConnections(
            self._wrapper,
            recorder,
            self._interceptor,
            measuring.log,
            server_settings=server_settings(self._settings),
            sharing=None,
        )
        with catching(
            self._wrapper,
            measuring,
            self._interceptor,
            self._others,
            sink=recorder,
            policy=Passthrough(recorder, transactions),
        ):
            yield self._others

    # While it is open.

    def look_ahead(self, read: Callable[[], Planned]) -> None:
        """Check nothing: a clone has no other sessions, and its dead space goes with it."""

    def start_migration(self) -> None:
        """Do nothing: what a migration sets stays set, as in a real run."""

    def check(self) -> None:
        """Raise if the connection is lost."""
        self._transactions.check_intact()

    def end_migration(self) -> None:
        """Close all cursors that are left, as COMMIT would."""
        session = self._transactions.session
        if session.status == TransactionStatus.INTRANS:
            with suppress(psycopg.Error):
                self._transactions.close_cursors()

    def excuses(self, error: BaseException, recorded: RecordedMigration) -> bool:
        """Return whether an error is not the migration's fault, which then did not finish."""
        cause = original_error(error)
        if self._transactions.timeouts.has_raised(cause):
            return False
        lost = self._transactions.session.status == TransactionStatus.UNKNOWN
        of_ours = is_no_fault(type(cause)) or recorded.exceeded_our_timeout(cause)
        return of_ours or lost

    def expired_lock_wait(self, error: BaseException) -> str:  # noqa: ARG002
        """Return ``""``: a clone has no other sessions, so the migration waits for itself."""
        return ""

    # When it is over.

    @property
    def sequences_moved(self) -> tuple[SequenceMove, ...]:
        """Sequences of other databases that moved; the clone's own go with it."""
        return self._others.sequences_moved if self._others is not None else ()

    def warnings(self, *, gave_up: bool) -> Iterator[str]:  # noqa: ARG002 - it never gives up
        """Yield the report's warnings about the clone."""
        if self._others is not None:
            yield from self._others.warnings()
