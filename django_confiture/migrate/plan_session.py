"""The session of one ``migrate`` on one database, from ``pre_migrate`` to its end."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING

import psycopg
from django.db import connections

from django_confiture import signals
from django_confiture.dry_run_mark import in_dry_run
from django_confiture.endings import end_all
from django_confiture.exceptions import MigrateRefused
from django_confiture.formatting import count
from django_confiture.migrate.known_forecasts import known_forecasts
from django_confiture.migrate.lost_outside import LostOutside
from django_confiture.migrate.resuming import journal
from django_confiture.migrate.sessions.own_sessions import OwnSessions
from django_confiture.migrate.sessions.second_connection import connect_beside
from django_confiture.migrate.sessions.server_path import ServerPath
from django_confiture.migrate.settings import migrate_settings
from django_confiture.migrate.status.published import Beacon
from django_confiture.migrate.status.publisher import Publisher
from django_confiture.migrate.status.terminal import Output, TerminalLine
from django_confiture.migrate.turns import stale_plan
from django_confiture.migrate.turns.one_at_a_time import Turn, take_turn, without_lock
from django_confiture.migrate.turns.turn_news import TurnNews
from django_confiture.migrate.watching.activity import GaveWay
from django_confiture.migrate.watching.announcements import Announcer
from django_confiture.migrate.watching.watch import Listener, Target, Watch
from django_confiture.unconfigured_logs import configured_handlers

if TYPE_CHECKING:
    from django.db.backends.base.base import BaseDatabaseWrapper
    from django.db.backends.base.schema import BaseDatabaseSchemaEditor
    from django.db.migrations.migration import Migration
    from django.db.migrations.state import ProjectState

WATCH_NAME = "django-confiture watch"


class PlanSession:
    """The settings of one ``migrate``, its turn, its watch, and its line on the terminal."""

    def __init__(self, connection: BaseDatabaseWrapper) -> None:
        self._connection = connection
        self.settings = migrate_settings(connection)
        self.watch: Watch | None = None
        self._turn: Turn | None = None
        self._publisher: Publisher | None = None
        self._terminal: TerminalLine | None = None
        self._planned = 0
        self._begun = 0
        self._applied_by_others: list[Migration] = []
        self._announcer: Announcer | None = None
        self._own_sessions = OwnSessions()
        self._path = ServerPath(connection)
        self._at_work = False
        self._lost_outside = LostOutside(connection, self.close)

    @contextmanager
    def at_work(self) -> Iterator[None]:
        """Stay open while a migration runs, though that may call ``migrate`` itself."""
        self._at_work = True
        self._lost_outside.rest()
        try:
            yield
        finally:
            self._at_work = False

    def migration_completed(self, migration: Migration, editor: BaseDatabaseSchemaEditor) -> None:
        """Note that a migration is complete: from here on, what fails is none of it."""
        self._lost_outside.go_on(after=None if editor.atomic_migration else migration)

    def begin(self) -> None:
        """Explain from now on why a session ends, also between migrations and in receivers."""
        self._lost_outside.begin()

    @property
    def is_at_work(self) -> bool:
        """Whether one of its migrations is running."""
        return self._at_work

    @property
    def session_is_shared(self) -> bool:
        """Whether a pool gives the session to other clients between two transactions."""
        return self._path.session_is_shared

    def check(self, plan: Sequence[Migration]) -> None:
        """Refuse what can't work here, before the first migration runs."""
        if not in_dry_run(self._connection):
            self._path.refuse_standby()
            if self._path.is_read_only_by_default and self._writes_itself:
                self._path.refuse_read_only()
        if self.settings.timeouts:
            self._path.refuse_timeouts(plan)

    @property
    def _writes_itself(self) -> bool:
        """Return whether more is written than what the migrations themselves write."""
        return not self.settings.is_default or journal.is_available(self._connection)

    def take_turn(self, plan: list[tuple[Migration, bool]], write: Callable[[str], object]) -> None:
        """Wait for another ``migrate`` of the database; drop what it applied from the plan."""
        self._planned = len(plan)
        if not self.settings.one_at_a_time:
            self._turn = without_lock(self._connection)
            self._path.find_out()
            return
        news = TurnNews(plan[0][0], write)
        try:
            turn = self._turn = take_turn(self._connection, news.waiting)
        except psycopg.Error as error:
            news.goes_on_without_lock(error)
            return
        if not turn.holds_lock:
            return
        self._path.is_like(pooled=turn.is_pooled)
        waited = turn.waited_s > 0.1  # longer than one try takes
        done = stale_plan.leave_out_what_is_done(plan, self._connection, has_waited=waited)
        self._planned = len(plan)
        self._applied_by_others = [migration for migration, backwards in done if not backwards]
        news.goes_on(turn.waited_s, left_out=len(done))

    def caught_up(self, state: ProjectState) -> ProjectState:
        """Return the state that a migration starts from, as another ``migrate`` has left it."""
        others, self._applied_by_others = self._applied_by_others, []
        return stale_plan.catch_up(state, others) if others else state

    def refuse_lost_turn(self, what_is_left: Callable[[], str] | None = None) -> None:
        """Refuse to go on where the lock is gone, and with it what kept other migrates out.

        ``what_is_left`` returns a sentence on the migration that this rolls back, if it does.
        """
        if self._turn is None or not self._turn.is_lost():
            return
        left = f"{what_is_left()} " if what_is_left is not None else ""
        raise MigrateRefused(
            "The session that kept other migrates of this database out is gone, so another one may "
            f"be at work by now. {left}Run migrate again: it waits for the other one, and "
            "applies what is still missing."
        )

    def attempt_begins(self, target: Callable[[int], Target]) -> Target | None:
        """Tell the watch and other shells which session runs which migration."""
        self.refuse_lost_turn()
        if self.watch is None and self._turn is None:
            return None
        begun = target(self._path.backend_pid())
        if self.watch is not None:
            self.watch.follow(begun)
        if self._terminal is not None:
            self._terminal.begin(begun)
        if self._turn is not None:
            self._publisher = self._publisher or Publisher(self._turn.publish)
            self._publish(self._publisher, begun)
        return begun

    def attempt_ends(self) -> GaveWay | None:
        """Stop watching; return why the attempt was ended, if it was."""
        ended = self.watch.leave() if self.watch is not None else None
        if self._terminal is not None:
            self._terminal.end()
        return ended

    def _publish(self, publisher: Publisher, target: Target) -> None:
        """Publish the attempt for ``confiture_status``."""
        self._begun += target.attempt == 1
        beacon = Beacon(
            database=self._connection.alias,
            app_label=target.migration.app_label,
            name=target.migration.name,
            direction=target.facts["direction"],
            attempt=target.attempt,
            number=self._begun,
            planned=self._planned,
            pid=target.pid,
        )
        publisher.begin(beacon)

    def prepare_journal(self, plan: Sequence[tuple[Migration, bool]] = ()) -> None:
        """Forget what is known of migrations that are complete, or are about to be undone.

        Refuse to begin one again that was cut off and could go on, if only it were allowed to.
        """
        if not journal.is_available(self._connection):
            return
        cut_off = journal.forget_applied(self._connection)
        for migration, backwards in plan if cut_off and not self.settings.resume else ():
            done = cut_off.get((migration.app_label, migration.name), 0)
            if done and not backwards and not migration.atomic:
                raise MigrateRefused(
                    f"{migration} was cut off after {count(done, 'operation')}, which would be "
                    'done again, as CONFITURE["MIGRATE"]["RESUME"] is off now: set it to True, and '
                    "migrate goes on there; or undo what was done, and forget that: "
                    f"{journal.Journal(self._connection, migration).how_to_forget()}"
                )

    def start_watch(self, terminal: Output | None) -> None:
        """Watch the migrations of the plan, where a setting, a listener or a terminal wants it."""
        settings = self.settings
        at_once = bool(settings.lock_timeout or settings.lock_retries or settings.max_blocking)
        if not at_once and terminal is None and not _someone_listens():
            return
        self._announcer = Announcer()
        listeners: list[Listener] = [self._announcer]
        if terminal is not None:
            self._terminal = TerminalLine(terminal, known_forecasts(self._connection.alias))
            listeners.append(self._terminal)
        self._own_sessions.start()
        self.watch = Watch(
            lambda: connect_beside(self._connection, WATCH_NAME),
            listeners,
            own_pids=self._own_sessions.pids,
            connect_guard=lambda: connect_beside(self._connection, WATCH_NAME, patience=1),
            max_blocking=settings.max_blocking,
            lock_timeout=settings.lock_timeout,
            at_once=at_once,
            wants_progress=terminal is not None,
        )

    def close(self) -> None:
        """End what was started; a second call changes nothing."""
        end_all(self._ends())

    def _ends(self) -> Iterator[Callable[[], object]]:
        if self.watch is not None:
            yield self.watch.stop
        if self._publisher is not None:
            yield self._publisher.stop
        if self._turn is not None:
            yield self._turn.end
        if self._announcer is not None:
            yield self._announcer.stop
        yield self._own_sessions.stop
        yield self._lost_outside.rest
        if self in (open_sessions := _open_sessions(self._connection)):
            yield partial(open_sessions.remove, self)


def _someone_listens() -> bool:
    """Return whether a receiver, or a handler for our own logs, wants to know of waits."""
    sent = (signals.migration_waits, signals.migration_blocks, signals.migration_gave_way)
    loggers = ("django_confiture", "django_confiture.migrate")
    return any(each.has_listeners() for each in sent) or any(
        configured_handlers(name) for name in loggers
    )


def _open_sessions(connection: BaseDatabaseWrapper) -> list[PlanSession]:
    """Return the sessions of a connection: of a ``migrate``, and of those that it has called.

    A connection belongs to one thread, so threads that migrate do not share them.
    """
    found: list[PlanSession] = vars(connection).setdefault("_confiture_sessions", [])
    return found


def open_session(connection: BaseDatabaseWrapper, lives_with: object = None) -> PlanSession:
    """Return the session of the plan that ``migrate`` is about to run.

    It ends when it is closed, at the latest with ``lives_with``, an object of that ``migrate``.
    """
    session = PlanSession(connection)
    if in_dry_run(connection):
        return session
    open_sessions = _open_sessions(connection)
    for each in [each for each in open_sessions if not each.is_at_work]:
        each.close()  # its migrate ended without post_migrate
    open_sessions.append(session)
    if lives_with is not None:
        weakref.finalize(lives_with, session.close)
    return session


def current_session(connection: BaseDatabaseWrapper) -> PlanSession:
    """Return the session of the plan that runs; one of its own where there was no plan."""
    open_sessions = _open_sessions(connection)
    if not open_sessions or in_dry_run(connection):
        return PlanSession(connection)
    return open_sessions[-1]


def close_session(alias: str) -> None:
    """End the session of a plan that has run.

    One that is at work goes on: a migration has sent the signal, or called a ``migrate`` that
    had nothing to do.
    """
    open_sessions = _open_sessions(connections[alias])
    if open_sessions and not open_sessions[-1].is_at_work:
        session = open_sessions[-1]
        try:
            session.prepare_journal()
        finally:
            session.close()
