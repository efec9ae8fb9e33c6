"""A dry run in one transaction of the database itself, from BEGIN to ROLLBACK."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from typing import Any, Literal

import psycopg
from django.db.backends.base.base import BaseDatabaseWrapper
from psycopg.pq import TransactionStatus

from django_confiture.dry_run.estimates import Sampler
from django_confiture.dry_run.interception.interceptor import Interceptor
from django_confiture.dry_run.interception.substitution import Substitutes
from django_confiture.dry_run.isolation import expired_lock_waits
from django_confiture.dry_run.isolation.other_aliases import OtherConnections, Sharing
from django_confiture.dry_run.isolation.shared_aliases import SharedAliases
from django_confiture.dry_run.isolation.watchdog import Watchdog
from django_confiture.dry_run.measuring.dead_space import RowWidths
from django_confiture.dry_run.measuring.nontransactional import SequenceWatch, put_back_note
from django_confiture.dry_run.measuring.stopwatch import Stopwatch
from django_confiture.dry_run.plan.planned import Planned
from django_confiture.dry_run.plan.preflight import look_ahead
from django_confiture.dry_run.plan.refusals import refuse_unusable
from django_confiture.dry_run.recording.instruments import Instruments, instruments
from django_confiture.dry_run.recording.records import RecordedMigration
from django_confiture.dry_run.recording.statement_recorder import StatementRecorder
from django_confiture.dry_run.rehearsal import Rehearsal
from django_confiture.dry_run.results import Preflight, SequenceMove, Waiter
from django_confiture.dry_run.results.error_classes import (
    is_cancelled,
    is_lock_timeout,
    is_no_fault,
    original_error,
)
from django_confiture.dry_run.results.observer import Observer
from django_confiture.dry_run.server.driver import check_names
from django_confiture.dry_run.server.settings import database, server_settings
from django_confiture.dry_run.settings import DryRunSettings, dry_run_settings
from django_confiture.dry_run.stage import Opened, aside, catching
from django_confiture.dry_run.transactions.at_commit.excuses import excuse
from django_confiture.dry_run.transactions.rehearsed import RehearsedTransactions


def transaction_rehearsal(
    wrapper: BaseDatabaseWrapper,
    *,
    settings: DryRunSettings | None = None,
    samples: bool = False,
    observer: Observer | None = None,
    **options: Any,
) -> Rehearsal:
    """Return the rehearsal on a connection; ``options`` are those of :class:`Rehearsal`."""
    stage = TransactionStage(
        wrapper,
        settings or dry_run_settings(),
        samples=samples,
        observer=observer or Observer(),
    )
    return Rehearsal(wrapper, stage, observer=observer, **options)


class TransactionStage:
    """Opens the transaction, catches what happens in it, and always rolls it back."""

    mode: Literal["transaction"] = "transaction"

    def __init__(
        self,
        wrapper: BaseDatabaseWrapper,
        settings: DryRunSettings,
        *,
        samples: bool,
        observer: Observer,
    ) -> None:
        self._wrapper = wrapper
        self._settings = settings
        self._samples = samples
        self._observer = observer
        self._clock = Stopwatch()
        self._interceptor = Interceptor()
        self._watchdog: Watchdog | None = None
        self._others: OtherConnections | None = None
        self._moved: tuple[SequenceMove, ...] = ()
        self._dead_bytes = 0
        self._notes: list[str] = []

    @contextmanager
    def open(self) -> Iterator[Opened]:
        """Begin, take Django's connection over and catch; at the end roll back, always."""
        transactions = self._connected()
        session = transactions.session
        found = database(session, self._wrapper)
        sequences = SequenceWatch(session)
        lock_timeout = session.value("SHOW lock_timeout")
        with ExitStack() as stack:
            self._watchdog = self._watching(stack)
            transactions.begin()
            stack.callback(self._rolled_back, transactions, found.name, sequences)
            self._transactions = transactions
            self._instruments = instruments(
                session,
                self._clock,
                self._settings,
                waits=self._watchdog.waits if self._watchdog is not None else None,
            )
            stack.callback(self._measure_dead_space, self._instruments)
            others = stack.enter_context(self._catching(transactions, self._instruments))
            yield Opened(
                self._instruments,
                found,
                has_lock_timeout=lock_timeout != "0",
                aside=partial(aside, self._instruments, self._interceptor),
                settle=others.settle,
            )

    def _connected(self) -> RehearsedTransactions:
        check_names()
        self._wrapper.ensure_connection()
        settings = server_settings(self._settings)
        transactions = RehearsedTransactions(self._wrapper, settings, clock=self._clock)
        transactions.check_usable()
        with self._wrapper.cursor():
            pass  # some backends set the search path with the first one
        refuse_unusable(self._wrapper, transactions.session)
        return transactions

    def _watching(self, stack: ExitStack) -> Watchdog | None:
        yield_after = self._settings.yield_after
        if yield_after is None:
            return None
        watchdog = Watchdog(
            self._wrapper,
            yield_after=yield_after,
            own_pids=self._own_pids,
            observer=self._observer,
        )
        watchdog.start()
        stack.callback(watchdog.stop)
        return watchdog

    @contextmanager
    def _catching(
        self, transactions: RehearsedTransactions, measuring: Instruments
    ) -> Iterator[OtherConnections]:
        """Measure the statements of this connection, and hold the others."""
        sampler = Sampler(measuring.session, measuring.catalog) if self._samples else None
        recorder = StatementRecorder(
            measuring,
            transactions,
            check=self._watchdog.check if self._watchdog is not None else lambda: None,
            sample=sampler.sample if sampler is not None else None,
            observer=self._observer,
        )
        transactions.subscribe(recorder)
        sharing = Sharing(
            self._clock,
            transactions.statement_savepoint,
            recorder.changed_before,
            SharedAliases(self._wrapper, measuring, measuring.log.note_not_rehearsed),
        )
        self._others = OtherConnections(
            self._wrapper,
            recorder,
            self._interceptor,
            measuring.log,
            server_settings=server_settings(self._settings),
            sharing=sharing,
        )
        with catching(
            self._wrapper,
            measuring,
            self._interceptor,
            self._others,
            sink=recorder,
            policy=Substitutes(recorder, transactions),
        ):
            yield self._others

    def _own_pids(self) -> Collection[int]:
        return self._others.pids() if self._others is not None else ()

    def _measure_dead_space(self, measuring: Instruments) -> None:
        self._dead_bytes = measuring.dead_space.left()

    def _rolled_back(
        self, transactions: RehearsedTransactions, name: str, sequences: SequenceWatch
    ) -> None:
        sequences.ends()
        try:
            transactions.end()
        finally:
            if self._wrapper.connection is not None:
                self._moved, back = sequences.ended(name)
                self._notes += map(put_back_note, back)

    # While it is open.

    def look_ahead(self, read: Callable[[], Planned]) -> Preflight:
        """Find out what the plan will touch; refuse what can't be rehearsed here."""
        watchdog = self._watchdog
        return look_ahead(
            read(),
            self._instruments.session,
            RowWidths(self._instruments.catalog),
            own_pids=[*self._own_pids(), *([watchdog.pid] if watchdog is not None else [])],
            max_dead_bytes=self._settings.max_dead_space,
            yield_after_ms=watchdog.after_ms if watchdog is not None else None,
        )

    def start_migration(self) -> None:
        """Set the timeouts again: for real, the migration before would have ended its own."""
        self._transactions.ends.assert_settings()

    def check(self) -> None:
        """Raise if the transaction is not the one that was opened, or leaves too many dead rows."""
        self._transactions.check_intact()
        self._transactions.ends.check_commit_guard()
        self._instruments.dead_space.check()

    def end_migration(self) -> None:
        """Close all cursors, as COMMIT would."""
        session = self._instruments.session
        if session.status == TransactionStatus.INTRANS:
            with suppress(psycopg.Error):  # the connection may be lost, which shows only here
                self._transactions.ends.close_cursors()

    def excuses(self, error: BaseException, recorded: RecordedMigration) -> bool:
        """Return whether an error is not the migration's fault, which then did not finish."""
        cause = original_error(error)
        if self._transactions.timeouts.has_raised(cause):
            return False
        if is_no_fault(type(cause)) or recorded.exceeded_our_timeout(cause):
            return True
        session, known = self._instruments.session, [each.error for each in recorded.failures]
        server = session.raw.info.server_version
        if why := excuse(cause, recorded.last_transaction, recorded.reasons_at_failure, server):
            self._notes.append(why)
            return True
        return (
            bool(self.waiters)
            or session.status == TransactionStatus.UNKNOWN
            or bool(self.expired_lock_wait(error))
            or self._waited_for_earlier(error, recorded)
            or (self._others is not None and self._others.kept_from_writing(cause, known))
            or self._instruments.dead_space.stopped
        )

    def expired_lock_wait(self, error: BaseException) -> str:
        """Return what another session held for too long; ``""`` if that is not the error."""
        if not is_lock_timeout(error) or self._waited_for_itself:
            return ""
        return expired_lock_waits.expired_wait(
            self._watchdog.waits.last if self._watchdog is not None else None
        )

    @property
    def _waited_for_itself(self) -> bool:
        return self._watchdog is not None and self._watchdog.self_wait is not None

    def _waited_for_earlier(self, error: BaseException, recorded: RecordedMigration) -> bool:
        """Return whether what it opened itself waited for what an earlier migration has locked.

        That one would have been committed; what the migration itself has locked stops it for real.
        """
        if self._watchdog is None or (own := self._watchdog.self_wait) is None:
            return False
        ended_it = is_lock_timeout(error) or (own.on_foreign_server and is_cancelled(error))
        return ended_it and own.wait.oid not in recorded.tables

    # When it is over.

    @property
    def waiters(self) -> tuple[Waiter, ...]:
        """The waiting sessions that made the dry run end."""
        return self._watchdog.waiters if self._watchdog is not None else ()

    @property
    def sequences_moved(self) -> tuple[SequenceMove, ...]:
        """The sequences that stay moved, in other databases as well."""
        elsewhere = self._others.sequences_moved if self._others is not None else ()
        return (*self._moved, *elsewhere)

    @property
    def dead_bytes(self) -> int:
        """The bytes that rolled-back rows take until VACUUM."""
        return self._dead_bytes

    def warnings(self, *, gave_up: bool) -> Iterator[str]:
        """Yield the report's warnings about the transaction."""
        yield from self._notes
        if self._others is not None:
            yield from self._others.warnings()
        if self._watchdog is not None and self._watchdog.self_wait is not None:
            yield expired_lock_waits.self_wait_warning(self._watchdog.self_wait)
        elif gave_up and self._watchdog is not None and self._watchdog.waits.last is not None:
            yield from expired_lock_waits.expired_wait_warnings(self._watchdog.waits.last)
