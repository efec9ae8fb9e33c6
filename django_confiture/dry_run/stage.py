"""What a rehearsal needs of the place where migrations run: a transaction, or a copy."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Literal, Protocol

from django.db.backends.base.base import BaseDatabaseWrapper

from django_confiture.dry_run.interception.interceptor import Interceptor
from django_confiture.dry_run.plan.planned import Planned
from django_confiture.dry_run.recording.instruments import Instruments
from django_confiture.dry_run.recording.records import RecordedMigration
from django_confiture.dry_run.results import Database, Preflight, SequenceMove, Waiter


@dataclass(frozen=True)
class Opened:
    """What a stage holds once it is open."""

    instruments: Instruments
    database: Database
    has_lock_timeout: bool
    """Whether the connection limits the wait for locks by itself."""
    aside: Callable[[], AbstractContextManager[None]]
    """Lets Django work on the connection for the dry run itself: nothing of it is recorded."""


@contextmanager
def aside(instruments: Instruments, interceptor: Interceptor) -> Iterator[None]:
    """Let pass what is sent inside, take no time for it, and count nothing of it."""
    with instruments.clock.stopped():
        with interceptor.passing(instruments.session.raw):
            yield
        if instruments.prober.possible:
            instruments.prober.pass_over()


class Stage(Protocol):
    """Where migrations are rehearsed: a transaction that is rolled back, or a copy."""

    @property
    def mode(self) -> Literal["transaction", "clone"]:
        """How the report names it."""

    def open(self) -> AbstractContextManager[Opened]:
        """Catch every statement from now on; whatever happens, clean up at the end."""

    def look_ahead(self, read: Callable[[], Planned]) -> Preflight | None:
        """See what the plan will touch; refuse what can't be rehearsed here."""

    def start_migration(self) -> None:
        """Begin a migration as the real run would."""

    def check(self) -> None:
        """Raise where what was rehearsed can't be relied on."""

    def end_migration(self) -> None:
        """Do what the end of the migration's transaction would do."""

    def excuses(self, error: BaseException, recorded: RecordedMigration) -> bool:
        """Return whether an error says nothing about the migration, which never came to its end."""

    def waits_in_vain(self, error: BaseException) -> bool:
        """Return whether an error is that another session holds a lock for too long."""

    @property
    def waiters(self) -> tuple[Waiter, ...]:
        """The sessions for whose sake the dry run ended."""

    def warnings(self, *, gave_up: bool) -> Iterator[str]:
        """Yield what the report has to say about where it took place."""

    @property
    def sequences_moved(self) -> tuple[SequenceMove, ...]:
        """What the end did not undo."""

    @property
    def dead_bytes(self) -> int:
        """How much space it left for VACUUM."""


@contextmanager
def known_to_hooks(wrapper: BaseDatabaseWrapper) -> Iterator[None]:
    """Tell the hooks on a connection that it is a dry run."""
    wrapper._confiture_dry_run = True  # type: ignore[attr-defined]
    try:
        yield
    finally:
        vars(wrapper).pop("_confiture_dry_run", None)
