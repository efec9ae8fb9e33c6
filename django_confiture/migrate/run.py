"""One run of one migration, with its phases around what Django does."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from time import perf_counter
from typing import TYPE_CHECKING, Any

from django.db import transaction

from django_confiture import signals
from django_confiture.exceptions import HookError
from django_confiture.hooks.base import PHASES_AT_END, HookPhase
from django_confiture.hooks.deferred_sql import check_deferred_constraints, flush_deferred_sql
from django_confiture.migrate import analyze
from django_confiture.migrate.after_exit import AfterExit
from django_confiture.migrate.attempt_hooks import AttemptHooks, WovenMigration
from django_confiture.migrate.attempts import Attempts
from django_confiture.migrate.lost_session import explained
from django_confiture.migrate.patient_statements import PatientStatements
from django_confiture.migrate.plan_session import PlanSession
from django_confiture.migrate.resuming.resume import journaled
from django_confiture.migrate.states import StateBefore
from django_confiture.migrate.timeouts import MigrationTimeouts
from django_confiture.migrate.watching.announcements import log_facts

if TYPE_CHECKING:
    from django.db.backends.base.schema import BaseDatabaseSchemaEditor
    from django.db.migrations.state import ProjectState

logger = logging.getLogger("django_confiture.hooks")

Step = Callable[..., "ProjectState"]


class MigrationRun:
    """One run of one migration: its phases, in order, in as many attempts as the settings allow."""

    def __init__(
        self,
        woven: WovenMigration,
        schema_editor: BaseDatabaseSchemaEditor,
        session: PlanSession,
        state: ProjectState,
    ) -> None:
        """``state`` is the one that ``apply`` starts from, or that ``unapply`` leads to."""
        self._woven = woven
        self._migration = woven.migration
        self._editor = schema_editor
        self._connection = schema_editor.connection
        self._session = session
        self._settings = session.settings
        self._resumes = session.settings.resume and woven.direction == "forward"
        self._attempts = Attempts(self._connection, session, self._migration)
        timeouts = self._settings.timeouts
        shared = bool(timeouts) and session.session_is_shared
        self._timeouts = MigrationTimeouts(self._connection, timeouts, session_is_shared=shared)
        self._patience = PatientStatements(
            self._connection,
            lifts_lock_timeout="lock_timeout" in timeouts,
            session_is_shared=shared,
        )
        self._state = state
        self._before = StateBefore(state, self._migration, backward=woven.direction == "backward")
        self._started = perf_counter()
        self._committed = False
        self._tables_before: analyze.Snapshot | None = None
        self._hooks = AttemptHooks(woven, schema_editor)
        """Of the attempt that runs."""

    def around(self, step: Step) -> ProjectState:
        """Run the phases around ``step``, Django's own ``apply`` or ``unapply``."""
        if self._editor.atomic_migration:
            self._editor.atomic = AfterExit(self._editor.atomic, self._ended, self._explained)
            return self._in_transaction(step)
        return self._without_transaction(step)

    def _explained(self, error: BaseException, *, at_commit: bool = False) -> BaseException:
        return explained(
            error,
            self._migration,
            self._editor,
            outcome=self._attempts.outcome,
            resumes=self._resumes,
            at_commit=at_commit,
        )

    def _in_transaction(self, step: Step) -> ProjectState:
        """Run an atomic migration, again after a lock timeout as often as the settings say."""
        self._open()
        state = self._state
        deferred = list(self._editor.deferred_sql)
        while True:
            try:
                return self._attempt(step, state)
            except Exception as error:  # noqa: BLE001 - raised again unless it is worth a retry
                self._start_over(self._attempts.delay_after(error), error)
            self._editor.deferred_sql = list(deferred)
            state = self._before.again()

    def _without_transaction(self, step: Step) -> ProjectState:
        """Run a non-atomic migration: its end is where this method ends, and nothing is retried."""
        try:
            self._open()
            with self._timeouts.held(), self._connection.execute_wrapper(self._patience):
                self._attempts.begin_without_transaction(**self._sender_facts())
                after = self._phases(step, self._state)
        except BaseException as error:
            failed = self._attempts.failed_without_transaction
            final = self._explained(failed(error, resumes=self._resumes))
            self._ended(final)
            if final is error:
                raise
            raise final from error
        self._attempts.ended_too_late()
        self._reconnect()
        self._ended(None)
        return after

    def _open(self) -> None:
        self._send(signals.migration_started)
        if self._settings.analyze and not self._hooks.context.dry_run:
            self._tables_before = analyze.snapshot(self._connection)
        self._hooks.collect()
        self._before.keep(
            retried=self._settings.lock_retries > 0,
            at_end=self._hooks.has(*PHASES_AT_END),
        )

    def _attempt(self, step: Step, state: ProjectState) -> ProjectState:
        self._timeouts.set()
        self._attempts.begin(**self._sender_facts())
        if not self._hooks.context.dry_run:
            transaction.on_commit(self._note_commit, using=self._connection.alias)
        with self._patience_where_needed():
            after = self._phases(step, state)
        if self._settings.max_blocking is not None and self._connection.in_atomic_block:
            check_deferred_constraints(self._connection)  # or COMMIT would, for as long as it takes
        self._attempts.completed()
        self._session.refuse_lost_turn(self._attempts.what_rollback_leaves)
        return after

    def _patience_where_needed(self) -> AbstractContextManager[None]:
        if self._settings.lock_timeout is None:
            return nullcontext()
        return self._connection.execute_wrapper(self._patience)

    def _start_over(self, delay: float, error: Exception) -> None:
        """Roll back, wait without holding anything, begin again."""
        self._editor.atomic.restart(error, lambda: time.sleep(delay))
        self._send(
            signals.migration_retried,
            attempt=self._attempts.number,
            error=error,
            blocked_by=self._attempts.last_blockers(),
        )
        self._hooks = AttemptHooks(self._woven, self._editor)
        self._hooks.collect()

    def _phases(self, step: Step, state: ProjectState) -> ProjectState:
        hooks = self._hooks
        hooks.context.set_apps(self._before.models)
        hooks.run(HookPhase.BEFORE_VALIDATION)
        hooks.run(HookPhase.BEFORE_DDL)
        with self._journaled():
            after = step(state, self._editor)
        hooks.context.set_apps(lambda: after.apps)
        flush_deferred_sql(self._editor)
        hooks.run(HookPhase.AFTER_DDL)
        if hooks.has(HookPhase.AFTER_VALIDATION) and self._connection.in_atomic_block:
            check_deferred_constraints(self._connection)
        hooks.run(HookPhase.AFTER_VALIDATION)
        hooks.run_cleanup()
        return after

    def _journaled(self) -> AbstractContextManager[None]:
        """Note each operation that is done where a migration could strand between two."""
        strands = self._woven.direction == "forward" and not self._editor.atomic_migration
        if self._hooks.context.dry_run or not strands or not self._settings.resume:
            return nullcontext()
        return journaled(
            self._migration,
            self._editor,
            self._sender_facts(),
            session_is_shared=self._session.session_is_shared,
        )

    def _ended(self, error: BaseException | None) -> None:
        """After commit or rollback."""
        if error is None:
            self._session.migration_completed(self._migration, self._editor)
        if error is not None and not self._committed:
            self._failed(error)
            return
        self._timeouts.restore()
        duration_ms = (perf_counter() - self._started) * 1000
        if self._tables_before is not None:
            self._quietly(self._analyze)
        self._send(signals.migration_finished, duration_ms=duration_ms)

    def _analyze(self) -> None:
        assert self._tables_before is not None
        analyze.analyze_what_changed(
            self._connection,
            self._tables_before,
            lock_timeout=self._settings.lock_timeout,
            facts=log_facts(self._migration),
        )

    def _failed(self, error: BaseException) -> None:
        self._attempts.abandoned()
        self._hooks.context.error = error
        self._hooks.context.set_apps(self._before.models_at_end)
        self._quietly(
            self._timeouts.restore,
            self._reconnect,
            self._timeouts.set,
            *self._hooks.after_rollback(),
            self._timeouts.restore,
            partial(self._send, signals.migration_failed, error=error),
            self._session.close,
        )

    def _quietly(self, action: Callable[[], None], *others: Callable[[], None]) -> None:
        """Run every call: a failure after the first is logged and never hides it.

        Should Ctrl-C end one, the others are still done.
        """
        try:
            action()
        except HookError:
            pass  # the executor has logged it
        except Exception:
            logger.exception("after_failure", extra={"migration": self._migration.name})
        finally:
            if others:
                self._quietly(*others)

    def _reconnect(self) -> None:
        connection = self._connection
        if connection.connection is not None and connection.connection.closed:
            connection.close()
        connection.ensure_connection()

    def _note_commit(self) -> None:
        self._committed = True

    def _sender_facts(self) -> dict[str, Any]:
        return {
            "using": self._connection.alias,
            "direction": self._woven.direction,
            "context": self._hooks.context,
        }

    def _send(self, signal: Any, **facts: object) -> None:
        signal.send_robust(
            sender=signals.sender_for(self._migration.app_label),
            migration=self._migration,
            **self._sender_facts(),
            **facts,
        )
