"""One run of one migration, with its phases around what Django does."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from time import perf_counter
from typing import TYPE_CHECKING, Any

from django.db import transaction

from django_confiture import signals
from django_confiture.exceptions import HookError
from django_confiture.hooks.base import PHASES_AT_END, Direction, Hook, HookPhase
from django_confiture.hooks.context import attach_context, new_context
from django_confiture.hooks.deferred_sql import check_deferred_constraints, flush_deferred_sql
from django_confiture.hooks.executor import HookExecutor
from django_confiture.migrate import analyze, phases
from django_confiture.migrate.after_exit import AfterExit
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
    from django.db.migrations.migration import Migration
    from django.db.migrations.state import ProjectState

logger = logging.getLogger("django_confiture.hooks")

Step = Callable[..., "ProjectState"]


class MigrationRun:
    """One run of one migration: its phases, in order, with each CLEANUP hook exactly once."""

    def __init__(
        self,
        migration: Migration,
        schema_editor: BaseDatabaseSchemaEditor,
        direction: Direction,
        session: PlanSession,
        entries: Sequence[phases.PhaseEntry],
        plan: tuple[str, ...],
    ) -> None:
        self._migration = migration
        self._entries = entries
        self._plan = plan
        self._editor = schema_editor
        self._connection = schema_editor.connection
        self._direction = direction
        self._session = session
        self._settings = session.settings
        self._resumes = session.settings.resume and direction == "forward"
        self._attempts = Attempts(self._connection, session, migration)
        timeouts = self._settings.timeouts
        shared = bool(timeouts) and session.session_is_shared
        self._timeouts = MigrationTimeouts(self._connection, timeouts, session_is_shared=shared)
        self._patience = PatientStatements(
            self._connection,
            lifts_lock_timeout="lock_timeout" in timeouts,
            session_is_shared=shared,
        )
        self._hooks: dict[HookPhase, list[Hook]] = {}
        self._started = perf_counter()
        self._committed = False
        self._tables_before: analyze.Snapshot | None = None
        self._new_context()

    def around(self, step: Step, state: ProjectState) -> ProjectState:
        """Run the phases around ``step``, Django's own ``apply`` or ``unapply``."""
        if self._editor.atomic_migration:
            self._editor.atomic = AfterExit(self._editor.atomic, self._ended, self._explained)
            return self._in_transaction(step, state)
        return self._without_transaction(step, state)

    def _explained(self, error: BaseException, *, at_commit: bool = False) -> BaseException:
        return explained(
            error,
            self._migration,
            self._editor,
            outcome=self._attempts.outcome,
            resumes=self._resumes,
            at_commit=at_commit,
        )

    def _in_transaction(self, step: Step, state: ProjectState) -> ProjectState:
        """Run an atomic migration, again after a lock timeout as often as the settings say."""
        self._open(state)
        deferred = list(self._editor.deferred_sql)
        while True:
            try:
                return self._attempt(step, state)
            except Exception as error:  # noqa: BLE001 - raised again unless it is worth a retry
                self._start_over(self._attempts.delay_after(error), error)
            self._editor.deferred_sql = list(deferred)
            state = self._before.again()

    def _without_transaction(self, step: Step, state: ProjectState) -> ProjectState:
        """Run a non-atomic migration: its end is where this method ends, and nothing is retried."""
        try:
            self._open(state)
            with self._timeouts.held(), self._connection.execute_wrapper(self._patience):
                self._attempts.begin_without_transaction(**self._sender_facts())
                after = self._phases(step, state)
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

    def _open(self, state: ProjectState) -> None:
        self._send(signals.migration_started)
        if self._settings.analyze and not self._context.dry_run:
            self._tables_before = analyze.snapshot(self._connection)
        backward = self._direction == "backward"
        self._before = StateBefore(state, self._migration, backward=backward)
        self._collect_hooks()
        self._before.keep(
            retried=self._settings.lock_retries > 0,
            at_end=any(self._hooks.get(phase) for phase in PHASES_AT_END),
        )

    def _attempt(self, step: Step, state: ProjectState) -> ProjectState:
        self._timeouts.set()
        self._attempts.begin(**self._sender_facts())
        if not self._context.dry_run:
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
        self._new_context()
        self._collect_hooks()

    def _phases(self, step: Step, state: ProjectState) -> ProjectState:
        self._context.set_apps(self._before.models)
        self._run_hooks(HookPhase.BEFORE_VALIDATION)
        self._run_hooks(HookPhase.BEFORE_DDL)
        with self._journaled():
            after = step(state, self._editor)
        self._context.set_apps(lambda: after.apps)
        flush_deferred_sql(self._editor)
        self._run_hooks(HookPhase.AFTER_DDL)
        if self._hooks.get(HookPhase.AFTER_VALIDATION) and self._connection.in_atomic_block:
            check_deferred_constraints(self._connection)
        self._run_hooks(HookPhase.AFTER_VALIDATION)
        cleanup = self._hooks.get(HookPhase.CLEANUP, [])
        while cleanup:  # what fails in here must not run again after the rollback
            self._execute(HookPhase.CLEANUP, cleanup.pop(0))
        return after

    def _journaled(self) -> AbstractContextManager[None]:
        """Note each operation that is done where a migration could strand between two."""
        strands = self._direction == "forward" and not self._editor.atomic_migration
        if self._context.dry_run or not strands or not self._settings.resume:
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
        self._context.error = error
        self._context.set_apps(self._before.models_at_end)
        after_rollback = (HookPhase.ON_ERROR, HookPhase.CLEANUP)
        self._quietly(
            self._timeouts.restore,
            self._reconnect,
            self._timeouts.set,
            *(
                partial(self._execute, phase, hook)
                for phase in after_rollback
                for hook in self._hooks.get(phase, [])
            ),
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

    def _run_hooks(self, phase: HookPhase) -> None:
        if hooks := self._hooks.get(phase):
            self._execute(phase, *hooks)

    def _execute(self, phase: HookPhase, *hooks: Hook) -> None:
        self._connection.ensure_connection()
        HookExecutor().execute_phase(self._connection.connection, phase, hooks, self._context)

    def _collect_hooks(self) -> None:
        """Collect the hooks from the settings, and those from the file that run at its end."""
        self._hooks = {}
        alias = self._connection.alias
        self._add(phases.hooks_from_settings(self._migration, alias, self._entries))
        in_file = phases.hooks_from_file(self._migration, self._editor)
        self._add(planned for planned in in_file if planned.phase in PHASES_AT_END)

    def _add(self, planned: Iterable[phases.PlannedHook]) -> None:
        for each in planned:
            self._hooks.setdefault(each.phase, []).append(each.hook)

    def _new_context(self) -> None:
        """Clear what a rolled-back attempt has left in the context."""
        self._context = new_context(self._migration, self._connection, self._direction, self._plan)
        attach_context(self._editor, self._context)

    def _note_commit(self) -> None:
        self._committed = True

    def _sender_facts(self) -> dict[str, Any]:
        return {
            "using": self._connection.alias,
            "direction": self._direction,
            "context": self._context,
        }

    def _send(self, signal: Any, **facts: object) -> None:
        signal.send_robust(
            sender=signals.sender_for(self._migration.app_label),
            migration=self._migration,
            **self._sender_facts(),
            **facts,
        )
