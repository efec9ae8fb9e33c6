"""Runs the hooks of one phase in order, each in a savepoint, with structured log events."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from time import perf_counter
from typing import TYPE_CHECKING, Any

import psycopg

from django_confiture import signals
from django_confiture.exceptions import HookError, HookRefusal, HookVeto
from django_confiture.hooks.base import Hook, HookContext, HookPhase, HookPolicy, HookResult
from django_confiture.hooks.savepoint import check_transaction, savepoint, statement_timeout

if TYPE_CHECKING:
    from datetime import timedelta

    from django.dispatch import Signal

logger = logging.getLogger("django_confiture.hooks")


class HookExecutor:
    """Runs hooks on a connection. Keeps no state, so one instance serves every thread."""

    def execute_phase(
        self,
        conn: psycopg.Connection[Any],
        phase: HookPhase | str,
        hooks: Iterable[Hook | type[Hook]],
        context: HookContext,
    ) -> list[HookResult]:
        """Run ``hooks`` in order and return the results of those that completed.

        Each hook has its own savepoint on ``conn``, or its own transaction if the connection is in
        autocommit mode. Raises :class:`HookError` from the hook's error, with only that hook's
        savepoint rolled back, unless the hook sets ``on_failure = "continue"``.
        """
        phase_name = str(getattr(phase, "name", phase))
        hooks = list(hooks)
        facts = {"phase": phase_name, **_migration_facts(context)}
        logger.info("executing_hooks", extra={"hook_count": len(hooks), **facts})
        outcomes = [self._run_hook(conn, phase_name, hook, context) for hook in hooks]
        results = [result for result in outcomes if result is not None]
        logger.info("phase_completed", extra={"hooks_executed": len(results), **facts})
        return results

    def skip(self, phase: HookPhase, hook_name: str, context: HookContext, reason: str) -> None:
        """Log and send that a hook of a migration does not run, and why."""
        _Call(hook_name, phase.name, context).skipped(reason)

    def _run_hook(
        self,
        conn: psycopg.Connection[Any],
        phase: str,
        hook: Hook | type[Hook],
        context: HookContext,
    ) -> HookResult | None:
        call = _Call(_class_of(hook).__name__, phase, context)
        tolerated = False
        try:
            hook = _instance(hook)
            policy = HookPolicy.of(hook)
            if reason := policy.reason_to_skip(context):
                call.skipped(reason)
                return None
            tolerated = policy.tolerated
            call.begun()
            with (
                call.in_context(hook.options),
                savepoint(conn, context),
                statement_timeout(conn, policy.timeout),
            ):
                result = hook.execute(conn, context)
                _check_result(result)
                check_transaction(conn, context)
        except Exception as error:
            call.failed(error)
            if tolerated:
                return None
            raise _hook_error(call, hook, error) from error
        call.completed(result, policy.timeout)
        return result


@dataclass(frozen=True)
class _Call:
    """One call of one hook, and what is logged and sent about it."""

    name: str
    phase: str
    context: HookContext
    started: float = field(default_factory=perf_counter)

    @property
    def facts(self) -> dict[str, object]:
        return {"hook": self.name, "phase": self.phase, **_migration_facts(self.context)}

    def begun(self) -> None:
        logger.debug("hook_start", extra=self.facts)
        self._send(signals.hook_started)

    @contextmanager
    def in_context(self, options: Mapping[str, Any]) -> Iterator[None]:
        """Let the context be about this hook; then again about the hook that called it, if any."""
        context = self.context
        before = context.options, context.phase, context.on_progress
        also_told = context.on_progress

        def progressed(done: int, total: int | None) -> None:
            self._send(signals.hook_progress, done=done, total=total)
            if also_told is not None:
                also_told(done, total)

        context.options, context.phase, context.on_progress = options, self.phase, progressed
        try:
            yield
        finally:
            context.options, context.phase, context.on_progress = before

    def skipped(self, reason: str) -> None:
        logger.info("hook_skipped", extra={"reason": reason, **self.facts})
        self._ended("skipped", 0.0, reason=reason)

    def failed(self, error: Exception) -> None:
        duration_ms = self._duration_ms()
        facts = {"duration_ms": round(duration_ms), "error": str(error), **self.facts}
        logger.error("hook_failed", exc_info=error, extra=facts)
        self._ended("failed", duration_ms, error=error)

    def completed(self, result: HookResult, timeout: timedelta | None) -> None:
        duration_ms = self._duration_ms()
        result.execution_time_ms = result.execution_time_ms or round(duration_ms)
        facts = {"duration_ms": round(duration_ms), **self.facts}
        logger.info("hook_completed", extra={"rows_affected": result.rows_affected, **facts})
        if timeout is not None and duration_ms > (limit_ms := timeout.total_seconds() * 1000):
            # statement_timeout does not end Python code, and it counts each statement by itself.
            logger.warning("hook_over_timeout", extra={"timeout_ms": round(limit_ms), **facts})
        self._ended("completed", duration_ms, result=result)

    def _duration_ms(self) -> float:
        return (perf_counter() - self.started) * 1000

    def _ended(
        self,
        outcome: str,
        duration_ms: float,
        *,
        result: HookResult | None = None,
        error: Exception | None = None,
        reason: str = "",
    ) -> None:
        self._send(
            signals.hook_finished,
            outcome=outcome,
            duration_ms=duration_ms,
            result=result,
            error=error,
            reason=reason,
        )

    def _send(self, signal: Signal, **facts: object) -> None:
        signal.send_robust(
            sender=signals.sender_for(self.context.app_label),
            hook=self.name,
            phase=self.phase,
            context=self.context,
            **facts,
        )


def _migration_facts(context: HookContext) -> dict[str, object]:
    return {"migration": context.migration_name, "app_label": context.app_label}


def _class_of(hook: object) -> type:
    return hook if isinstance(hook, type) else type(hook)


def _instance(hook: Hook | type[Hook]) -> Hook:
    if not issubclass(_class_of(hook), Hook):
        raise TypeError(f"{hook!r} is not a Hook; subclass django_confiture.Hook.")
    return hook() if isinstance(hook, type) else hook


def _check_result(result: object) -> None:
    if not isinstance(result, HookResult):
        raise TypeError(
            f"execute() returned {type(result).__name__}, not a HookResult; "
            "let it return HookResult(phase=..., hook_name=...) at its end."
        )


def _hook_error(call: _Call, hook: object, error: Exception) -> HookError:
    if isinstance(error, HookVeto):
        refusal = HookRefusal(call.name, call.phase, error)
        refusal.add_note(
            f"Migration {call.context.label}, {call.context.direction}: the hook refused it. Do "
            "what it says, or change its OPTIONS."
        )
        return refusal
    raised = HookError(call.name, call.phase, error)
    source = _class_of(hook)
    raised.add_note(
        f"Migration {call.context.label}, {call.context.direction}: what this hook did was rolled "
        f"back. Fix {source.__module__}.{source.__qualname__}; a hook that may fail without "
        'stopping the migration says on_failure = "continue".'
    )
    return raised
