"""Connections besides the one that is rehearsed.

A data migration may write through another alias, or open a connection of its own. Whatever Django
opens is held in a rolled-back transaction as well; an alias of the very same database shares the
connection, as a second one would wait for our locks for ever. What a migration opens past Django
can't be rolled back, so it can't write.
"""

from __future__ import annotations

import functools
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import psycopg
from django.db import connections, transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from psycopg.pq import TransactionStatus

from django_confiture.dry_run.interception.cursors import Capture
from django_confiture.dry_run.interception.substitution import Substitutes
from django_confiture.dry_run.isolation.threads import OwnThreads
from django_confiture.dry_run.isolation.unmanaged_connections import IDENTITY, ForeignConnections
from django_confiture.dry_run.server.side_channel import Session
from django_confiture.dry_run.sql.parser import Kind, Statement
from django_confiture.dry_run.transactions.on_commit import uncalled
from django_confiture.dry_run.transactions.rehearsed import (
    RehearsedTransactions,
    TransactionObserver,
)

_STATEMENT = "confiture_statement"


class OtherConnections:
    """Holds every other connection that a thread of the dry run has while it is on."""

    def __init__(
        self,
        main: BaseDatabaseWrapper,
        observer: TransactionObserver,
        settings: dict[str, str],
        *,
        committed: bool = False,
    ) -> None:
        """Take ``committed`` where the main connection is to a copy, where all may be written."""
        self._main = main
        self._observer = observer
        self._settings = settings
        self._committed = committed
        self._identity = Session(main.connection).value(IDENTITY)
        self._held: dict[int, ExitStack] = {}
        self._held_wrappers: list[BaseDatabaseWrapper] = []
        # It would wait for our locks for ever, and PostgreSQL sees no deadlock.
        timeouts = {k: v for k, v in settings.items() if k == "lock_timeout"}
        self._own = OwnThreads()
        self._foreign = ForeignConnections(
            self._own, timeouts, self._identity if committed else None
        )
        self.refused_commits: list[str] = []
        """The aliases of other databases on which a migration tried to commit by itself."""

    @property
    def foreign_count(self) -> int:
        """How many connections were opened past Django's."""
        return self._foreign.count

    @contextmanager
    def held(self) -> Iterator[None]:
        """Hold the open connections now, others when they are opened; at the end release all."""
        django: Any = BaseDatabaseWrapper
        connect = django.__dict__["connect"]
        with ExitStack() as stack:
            stack.enter_context(self._own.followed())
            self._foreign.spare(self._main.connection)
            stack.enter_context(self._foreign.read_only())
            stack.callback(setattr, django, "connect", connect)
            stack.callback(self._release)
            django.connect = self._connect(connect)
            for wrapper in connections.all(initialized_only=True):
                own = vars(wrapper).get("connect")
                if getattr(own, "__func__", None) is connect:  # which a TestCase leaves behind
                    stack.callback(setattr, wrapper, "connect", own)
                    del wrapper.connect
                if wrapper.connection is not None:
                    self._hold(wrapper)
            yield

    def pids(self) -> list[int]:
        """Return the server processes of the other connections of this process."""
        raws = [w.connection for w in self._held_wrappers if w.vendor == "postgresql"]
        held = [raw.info.backend_pid for raw in raws if raw is not None and not raw.closed]
        return held + self._foreign.pids()

    def _release(self) -> None:
        for stack in reversed(self._held.values()):
            stack.close()

    def _connect(self, original: Callable[..., None]) -> Callable[..., None]:
        @functools.wraps(original)
        def connect(wrapper: BaseDatabaseWrapper) -> None:
            if not self._own.has_this:
                original(wrapper)
                return
            if wrapper is self._main or id(wrapper) in self._held:
                return  # its close() did nothing, so there is nothing to open again
            with self._foreign.of_django():
                original(wrapper)
            self._hold(wrapper)

        return connect

    def _hold(self, wrapper: BaseDatabaseWrapper) -> None:
        if wrapper is self._main or id(wrapper) in self._held:
            return
        if wrapper.vendor == "postgresql":
            self._foreign.spare(wrapper.connection)
        stack = self._held[id(wrapper)] = ExitStack()
        self._held_wrappers.append(wrapper)
        if wrapper.vendor != "postgresql":
            stack.enter_context(_rolled_back(wrapper, self.refused_commits))
            return
        same = Session(wrapper.connection).value(IDENTITY) == self._identity
        if same and self._committed:
            stack.enter_context(uncalled(wrapper, self._observer.callbacks_dropped))
            return
        thread: int = self._main._thread_ident  # type: ignore[attr-defined]
        shared = same and threading.get_ident() == thread
        if shared:
            stack.enter_context(_shared(wrapper, self._main))
        held = RehearsedTransactions(wrapper, self._settings, _OfAnother(self._observer))
        held.begin(shared=shared)
        if not shared:
            stack.callback(_close_if_asked, wrapper, held)
        stack.callback(held.end)
        if not shared:
            recorder = _Unrecorded(held)
            sending = Substitutes(wrapper.connection, recorder, held)
            capture = Capture(wrapper.connection, recorder, sending)
            stack.enter_context(capture.installed())


class _OfAnother(TransactionObserver):
    """Observes another connection: its transactions free none of the locks that are measured."""

    def __init__(self, observer: TransactionObserver) -> None:
        self._observer = observer

    def callbacks_dropped(self, count: int) -> None:
        self._observer.callbacks_dropped(count)


class _Unrecorded:
    """Stands in for the recorder where the statements are no part of the report."""

    def __init__(self, transactions: RehearsedTransactions) -> None:
        self._transactions = transactions
        self._session = transactions.session

    @property
    def autocommit(self) -> bool:
        return not self._transactions.in_transaction

    def note_substituted(self, text: str) -> None:
        """Of what is not in the report it says nothing."""

    def note_not_rehearsed(self, text: str) -> None:
        """Nor here."""

    @contextmanager
    def measured(
        self,
        statement: Statement,
        cursor: Any,  # noqa: ARG002
        *,
        skipped: bool = False,
        plain: bool = False,  # noqa: ARG002
    ) -> Iterator[None]:
        """Let an error undo nothing but the statement, where it has a transaction of its own."""
        quiet = statement.kind in (Kind.SAVEPOINT, Kind.QUIET, Kind.TRANSACTION)
        usable = self._session.status == TransactionStatus.INTRANS and not self._session.in_pipeline
        if skipped or quiet or not usable or not self.autocommit:
            yield
            return
        self._session.query(f"SAVEPOINT {_STATEMENT}")
        try:
            yield
            self._transactions.check_constraints()
        except psycopg.Error:
            self._session.query(f"ROLLBACK TO SAVEPOINT {_STATEMENT}")
            raise
        finally:
            if self._session.status == TransactionStatus.INTRANS:
                self._session.query(f"RELEASE SAVEPOINT {_STATEMENT}")
                self._transactions.statement_ended()


@contextmanager
def _shared(wrapper: BaseDatabaseWrapper, main: BaseDatabaseWrapper) -> Iterator[None]:
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


@contextmanager
def _rolled_back(wrapper: BaseDatabaseWrapper, refused: list[str]) -> Iterator[None]:
    """Hold a connection to another kind of database in a transaction that is rolled back."""
    thread = threading.get_ident()
    outer = transaction.Atomic(wrapper.alias, savepoint=True, durable=False)
    outer._from_testcase = True  # type: ignore[attr-defined]
    outer.__enter__()
    with _uncommitted(wrapper, refused):
        yield
    if threading.get_ident() == thread:
        wrapper.set_rollback(True)
        outer.__exit__(None, None, None)
    elif wrapper.connection is not None:  # Django would take that of this thread
        wrapper.connection.rollback()
        wrapper.connection.close()
        wrapper.connection = None


@contextmanager
def _uncommitted(wrapper: BaseDatabaseWrapper, refused: list[str]) -> Iterator[None]:
    """Let SQLite refuse to end the transaction, as ``executescript`` does before it begins."""
    raw = wrapper.connection
    if not isinstance(raw, sqlite3.Connection):
        yield
        return

    def authorize(action: int, what: str | None, *_rest: object) -> int:
        if action != sqlite3.SQLITE_TRANSACTION or what == "BEGIN":
            return sqlite3.SQLITE_OK
        if wrapper.alias not in refused:
            refused.append(wrapper.alias)
        return sqlite3.SQLITE_DENY

    raw.set_authorizer(authorize)
    try:
        yield
    finally:
        if wrapper.connection is raw:
            raw.set_authorizer(None)
