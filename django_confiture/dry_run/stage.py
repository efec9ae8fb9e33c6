"""The interface of a stage, where migrations are rehearsed: a transaction or a clone."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Literal, Protocol

import psycopg
from django.db.backends.base.base import BaseDatabaseWrapper

from django_confiture.dry_run.interception.cursors import Capture
from django_confiture.dry_run.interception.interceptor import Interceptor
from django_confiture.dry_run.interception.protocols import SendPolicy, StatementSink
from django_confiture.dry_run.isolation.other_aliases import OtherConnections
from django_confiture.dry_run.locks.user_code import SelectClassifier
from django_confiture.dry_run.plan.planned import Planned
from django_confiture.dry_run.recording.instruments import Instruments
from django_confiture.dry_run.recording.records import RecordedMigration
from django_confiture.dry_run.recording.sampling import offered_to_operations
from django_confiture.dry_run.results import Database, Preflight, SequenceMove, Waiter
from django_confiture.exceptions import DryRunRefused


class Aside:
    """What the dry run does for itself."""

    def __init__(self) -> None:
        self._of_tables = True

    @property
    def of_tables(self) -> bool:
        """Whether it may have come to tables other than the catalogs."""
        return self._of_tables

    def reads_catalogs_alone(self) -> None:
        """Note that it has come to none, so that nothing was counted."""
        self._of_tables = False


@dataclass(frozen=True)
class Opened:
    """What a stage holds once it is open."""

    instruments: Instruments
    database: Database
    has_lock_timeout: bool
    """Whether the connection limits the wait for locks by itself."""
    aside: Callable[[], AbstractContextManager[Aside]]
    """Lets Django work on the connection for the dry run itself: nothing of it is recorded."""
    settle: Callable[[], None]
    """Waits for threads that go on after an operation, which is not exact then."""


@contextmanager
def aside(instruments: Instruments, interceptor: Interceptor) -> Iterator[Aside]:
    """Send what is sent inside unrecorded: it takes no time and counts for nothing."""
    prober, done = instruments.prober, Aside()
    with instruments.clock.stopped():
        with interceptor.passing(instruments.session.raw):
            yield done
        if prober.possible and (done.of_tables or prober.has_moved()):
            prober.pass_over()


@contextmanager
def catching(
    wrapper: BaseDatabaseWrapper,
    instruments: Instruments,
    interceptor: Interceptor,
    others: OtherConnections,
    *,
    sink: StatementSink,
    policy: SendPolicy,
) -> Iterator[None]:
    """Hand each statement of the connection to ``sink``, and hold the other connections."""
    raw = instruments.session.raw
    capture = Capture(raw, sink, policy, SelectClassifier(instruments.session).classified)
    sampling = offered_to_operations(wrapper, instruments, interceptor)
    with interceptor.catching(raw, capture), others.held(), sampling:
        yield


class Stage(Protocol):
    """Where migrations are rehearsed: a transaction that is rolled back, or a clone."""

    @property
    def mode(self) -> Literal["transaction", "clone"]:
        """The stage's name in the report."""

    def open(self) -> AbstractContextManager[Opened]:
        """Catch every statement from now on; whatever happens, clean up at the end."""

    def look_ahead(self, read: Callable[[], Planned]) -> Preflight | None:
        """Find out what the plan will touch; refuse what can't be rehearsed here."""

    def start_migration(self) -> None:
        """Begin a migration as the real run would."""

    def check(self) -> None:
        """Raise if what was rehearsed can't be relied on."""

    def end_migration(self) -> None:
        """Do what the end of the migration's transaction would do."""

    def excuses(self, error: BaseException, recorded: RecordedMigration) -> bool:
        """Return whether an error is not the migration's fault, which then did not finish."""

    def expired_lock_wait(self, error: BaseException) -> str:
        """Return what it waited for until it gave up; ``""`` if that is not the error."""

    @property
    def waiters(self) -> tuple[Waiter, ...]:
        """The waiting sessions that made the dry run end."""

    def warnings(self, *, gave_up: bool) -> Iterator[str]:
        """Yield the report's warnings about the stage."""

    @property
    def sequences_moved(self) -> tuple[SequenceMove, ...]:
        """The sequences that stay moved after the end."""

    @property
    def dead_bytes(self) -> int:
        """The bytes of dead rows that it leaves for VACUUM."""


@contextmanager
def naming_waits(stage: Stage) -> Iterator[None]:
    """Say who kept the dry run from what it does inside, if a wait for a lock has ended it."""
    try:
        yield
    except psycopg.Error as error:
        if not (waited := stage.expired_lock_wait(error)):
            raise
        told = " ".join(stage.warnings(gave_up=True))
        raise DryRunRefused(told or f"Before the first migration {waited}.") from error
