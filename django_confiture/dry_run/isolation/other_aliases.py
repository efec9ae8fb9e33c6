"""Other connections that a migration uses: they are held in rolled-back transactions too.

A data migration may write through another alias, or open its own connection. Whatever Django
opens is held in a rolled-back transaction as well; an alias of the very same database shares the
connection, as a second one would wait for our locks forever. What a migration opens past Django
can't be rolled back, so it can't write.
"""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Protocol

from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper

from django_confiture.dry_run.interception.cursors import Capture
from django_confiture.dry_run.interception.interceptor import Interceptor
from django_confiture.dry_run.interception.substitution import Substitutes
from django_confiture.dry_run.isolation.let_go import refuse
from django_confiture.dry_run.isolation.other_vendors import rolled_back
from django_confiture.dry_run.isolation.sequences_elsewhere import SequencesElsewhere
from django_confiture.dry_run.isolation.shared_aliases import SharedAliases
from django_confiture.dry_run.isolation.threads import STILL_AT_WORK, OwnThreads
from django_confiture.dry_run.isolation.unmanaged_connections import (
    UnmanagedConnections,
    can_only_read,
)
from django_confiture.dry_run.isolation.unrecorded import (
    HANGS,
    CallbacksOnly,
    Overheard,
    Unrecorded,
    not_waiting_forever,
)
from django_confiture.dry_run.isolation.ways_out import WaysOut
from django_confiture.dry_run.measuring.stopwatch import Stopwatch
from django_confiture.dry_run.results import SequenceMove
from django_confiture.dry_run.server.driver import (
    DJANGO_CONNECT,
    owning_thread,
    psycopg_connection,
)
from django_confiture.dry_run.server.identity import database_identity
from django_confiture.dry_run.server.patches import patched
from django_confiture.dry_run.server.side_channel import Session
from django_confiture.dry_run.transactions.on_commit import CallbackObserver, uncalled
from django_confiture.dry_run.transactions.rehearsed import RehearsedTransactions
from django_confiture.dry_run.transactions.statement_savepoint import StatementSavepoint
from django_confiture.endings import end_all
from django_confiture.formatting import count

UNMEASURED = (
    "Another connection of this process, to {alias!r}, ran SQL: what it wrote and "
    "locked is not in this report."
)
_MISSED = (
    "Another connection of this process, to {alias!r}, read tables, and does not see what earlier "
    "migrations of this dry run have changed: --clone rehearses it exactly."
)


class Notes(Protocol):
    """Keeps for the report what other connections did; the statement log is one."""

    def note_not_rehearsed(self, text: str) -> None: ...
    def note_written_elsewhere(self, alias: str, table: str, rows: int) -> None: ...


@dataclass(frozen=True)
class Sharing:
    """What aliases of the same database share with a main connection that is rolled back."""

    clock: Stopwatch
    statement_savepoint: StatementSavepoint
    changed_before: Callable[[], bool]
    """Whether earlier transactions of the main connection have changed anything."""
    aliases: SharedAliases
    """Is told which aliases share it."""


class OtherConnections:
    """Holds every other connection that a thread of the dry run has, as long as the run lasts."""

    def __init__(
        self,
        main: BaseDatabaseWrapper,
        callbacks: CallbackObserver,
        interceptor: Interceptor,
        notes: Notes,
        *,
        server_settings: dict[str, str],
        sharing: Sharing | None,
    ) -> None:
        """``sharing`` is None where the main connection is to a clone: commits are real there."""
        self._main = main
        self._callbacks = callbacks
        self._interceptor = interceptor
        self._notes = notes
        self._sharing = sharing
        self._settings = server_settings
        self._identity = database_identity(Session(main.connection))
        self._held: dict[int, ExitStack] = {}
        self._held_wrappers: list[BaseDatabaseWrapper] = []
        # It would wait for our locks forever, and PostgreSQL sees no deadlock.
        timeouts = {k: v for k, v in server_settings.items() if k == "lock_timeout"}
        self._own = OwnThreads()
        clone = (self._identity, main.connection.info.dbname) if sharing is None else None
        self._unmanaged = UnmanagedConnections(self._own, timeouts, clone, notes.note_not_rehearsed)
        self._sequences = SequencesElsewhere()
        self._refused_commits: set[str] = set()
        """The aliases of other databases on which a migration tried to commit by itself."""

    def kept_from_writing(self, error: BaseException, known: Iterable[Exception]) -> bool:
        """Return whether an error is that a connection past Django's can't write here.

        ``known`` are the errors of the main connection.
        """
        is_known = any(each is error for each in known)
        return self._unmanaged.count > 0 and not is_known and can_only_read(error)

    def warnings(self) -> Iterator[str]:
        """Yield the report's warnings about them."""
        if self._unmanaged.count:
            opened = count(self._unmanaged.count, "connection")
            yield (
                f"Not in this report: what was done on {opened} opened past Django's, which could "
                "not write. --clone lets them write to the clone."
            )
        yield from self._own.warnings()
        for alias in sorted(self._refused_commits):
            yield (
                f"A COMMIT or ROLLBACK on the alias {alias!r} was refused: what it wrote could "
                "not be rolled back afterwards."
            )

    @property
    def sequences_moved(self) -> tuple[SequenceMove, ...]:
        """Which sequences of other databases moved; known once all are released."""
        return self._sequences.moved

    @contextmanager
    def held(self) -> Iterator[None]:
        """Hold the open connections now, others when they are opened; at the end release all."""
        with ExitStack() as stack:
            stack.enter_context(self._own.followed())
            stack.enter_context(WaysOut(self._own, self._notes.note_not_rehearsed).watched())
            stack.enter_context(self._interceptor.installed())
            self._unmanaged.spare(self._main.connection)
            stack.enter_context(self._unmanaged.read_only())
            connect = BaseDatabaseWrapper.connect
            stack.enter_context(patched((DJANGO_CONNECT, self._connecting)))
            stack.callback(self._release)
            stack.callback(self._own.let_go)
            for wrapper in connections.all(initialized_only=True):
                own = vars(wrapper).get("connect")
                if getattr(own, "__func__", None) is connect:  # which a TestCase leaves behind
                    stack.callback(setattr, wrapper, "connect", own)
                    del wrapper.connect
                if wrapper.connection is not None:
                    self._hold(wrapper)
            yield

    def settle(self) -> None:
        """Wait for threads that are still at work where an operation has ended."""
        if self._own.are_at_work:
            self._notes.note_not_rehearsed(STILL_AT_WORK)
            self._own.wait()

    def pids(self) -> list[int]:
        """Return the server processes of the other connections of this process."""
        raws = [w.connection for w in tuple(self._held_wrappers) if w.vendor == "postgresql"]
        held = [raw.info.backend_pid for raw in raws if raw is not None and not raw.closed]
        return held + self._unmanaged.pids()

    def _release(self) -> None:
        end_all(self._releases())

    def _releases(self) -> Iterator[Callable[[], None]]:
        while self._held:  # a thread of the migration may still connect
            _wrapper, stack = self._held.popitem()
            yield stack.close

    def _connecting(self, original: Callable[..., None]) -> Callable[..., None]:
        @functools.wraps(original)
        def connect(wrapper: BaseDatabaseWrapper) -> None:
            refuse()
            if not self._own.has_this:
                original(wrapper)
                return
            if wrapper is self._main or id(wrapper) in self._held:
                return  # its close() did nothing, so there is nothing to open again
            with self._own.connecting():
                original(wrapper)
            self._hold(wrapper)

        return connect

    def _hold(self, wrapper: BaseDatabaseWrapper) -> None:
        if wrapper is self._main or id(wrapper) in self._held:
            return
        if wrapper.vendor == "postgresql":
            self._unmanaged.spare(wrapper.connection)
        stack = self._held[id(wrapper)] = ExitStack()
        self._held_wrappers.append(wrapper)
        if wrapper.vendor != "postgresql":
            told = partial(self._not_measured, wrapper.alias)
            stack.enter_context(rolled_back(wrapper, self._refused_commits.add, told))
            return
        same = database_identity(Session(wrapper.connection)) == self._identity
        if same and self._sharing is None:
            stack.enter_context(uncalled(wrapper, self._callbacks))
            self._overhear(wrapper, stack)
        elif same and self._sharing and threading.get_ident() == owning_thread(self._main):
            self._share(wrapper, stack, self._sharing)
        else:
            self._rehearse(wrapper, stack, same_database=same)

    def _overhear(self, wrapper: BaseDatabaseWrapper, stack: ExitStack) -> None:
        """Let a connection to the clone do as it likes, but not wait forever for the migration."""
        raw = psycopg_connection(wrapper.connection)
        waited = partial(self._notes.note_not_rehearsed, HANGS.format(alias=wrapper.alias))
        overheard = Overheard(raw, partial(self._not_measured, wrapper.alias), waited)
        stack.enter_context(self._interceptor.catching(raw, overheard))
        stack.enter_context(not_waiting_forever(Session(raw)))

    def _share(self, wrapper: BaseDatabaseWrapper, stack: ExitStack, sharing: Sharing) -> None:
        """Let an alias of the same database use the main connection, until ``stack`` is closed."""
        closing = stack.enter_context(ExitStack())  # with its own connection, at the very end
        stack.enter_context(_with_connection_of(self._main, wrapper))
        callbacks = CallbacksOnly(self._callbacks)
        held = RehearsedTransactions(
            wrapper, self._settings, callbacks, sharing.clock, sharing.statement_savepoint
        )
        closing.callback(_close_if_asked, wrapper, held)
        held.begin(shared=True)
        stack.callback(held.end)
        stack.enter_context(sharing.aliases.noted(wrapper))

    def _rehearse(
        self, wrapper: BaseDatabaseWrapper, stack: ExitStack, *, same_database: bool
    ) -> None:
        """Hold a connection in its own transaction, until ``stack`` is closed."""
        held = RehearsedTransactions(wrapper, self._settings, CallbacksOnly(self._callbacks))
        stack.callback(_close_if_asked, wrapper, held)
        if not same_database:
            stack.enter_context(self._sequences.watched(held.session))
        held.begin()
        stack.callback(held.end)
        alias = wrapper.alias
        sink = Unrecorded(
            held,
            partial(self._not_measured, alias),
            partial(self._notes.note_written_elsewhere, alias),
            partial(self._has_read, alias) if same_database else lambda: None,
        )
        raw = psycopg_connection(wrapper.connection)
        capture = Capture(raw, sink, Substitutes(sink, held))
        stack.enter_context(self._interceptor.catching(raw, capture))

    def _not_measured(self, alias: str) -> None:
        self._notes.note_not_rehearsed(UNMEASURED.format(alias=alias))

    def _has_read(self, alias: str) -> None:
        if self._sharing is not None and self._sharing.changed_before():
            self._notes.note_not_rehearsed(_MISSED.format(alias=alias))


@contextmanager
def _with_connection_of(main: BaseDatabaseWrapper, wrapper: BaseDatabaseWrapper) -> Iterator[None]:
    """Let an alias of the same database use the connection that is rehearsed."""
    own, wrapper.connection = wrapper.connection, main.connection
    try:
        yield
    finally:
        wrapper.connection = own


def _close_if_asked(wrapper: BaseDatabaseWrapper, held: RehearsedTransactions) -> None:
    """Close what the migration closed, past Django's check: the thread may be gone."""
    if held.close_asked and wrapper.connection is not None:
        wrapper.connection.close()
        wrapper.connection = None
