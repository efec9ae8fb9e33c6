"""Run the hooks of one phase: in order, a savepoint each, with structured log events."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from time import perf_counter
from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.db import connections, transaction
from psycopg.pq import TransactionStatus

from django_confiture import conf, signals
from django_confiture.exceptions import HookError
from django_confiture.hooks.base import Hook, HookContext, HookPhase, HookResult

if TYPE_CHECKING:
    import psycopg

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

        Each hook has a savepoint of its own on ``conn`` (a transaction of its own where none is
        open). Raises :class:`HookError` from the hook's error, with only that hook's savepoint
        rolled back, unless the hook says ``on_failure = "continue"``.
        """
        phase_name = str(getattr(phase, "name", phase))
        hooks = list(hooks)
        facts = {"phase": phase_name, **_migration_facts(context)}
        logger.info("executing_hooks", extra={"hook_count": len(hooks), **facts})
        outcomes = [self._run(conn, phase_name, hook, context) for hook in hooks]
        results = [result for result in outcomes if result is not None]
        logger.info("phase_completed", extra={"hooks_executed": len(results), **facts})
        return results

    def _run(
        self,
        conn: psycopg.Connection[Any],
        phase: str,
        hook: Hook | type[Hook],
        context: HookContext,
    ) -> HookResult | None:
        name = _name(hook)
        facts = {"hook": name, "phase": phase, **_migration_facts(context)}
        try:
            hook = _instance(hook)
        except Exception as error:
            self._failed(name, phase, context, 0.0, error, facts)
            raise HookError(name, phase, error) from error
        if reason := _skip_reason(hook, context):
            logger.info("hook_skipped", extra={"reason": reason, **facts})
            _send_finished(name, phase, context, 0.0, outcome="skipped", reason=reason)
            return None
        logger.debug("hook_start", extra=facts)
        context.options = hook.options
        started = perf_counter()
        try:
            with _savepoint(conn, context), _statement_timeout(conn, hook):
                result = _checked(hook.execute(conn, context), name, context)
        except Exception as error:
            duration_ms = (perf_counter() - started) * 1000
            self._failed(name, phase, context, duration_ms, error, facts)
            if hook.on_failure == "continue":
                return None
            raise HookError(name, phase, error) from error
        duration_ms = (perf_counter() - started) * 1000
        self._completed(name, phase, context, duration_ms, result, facts)
        _warn_if_slow(hook, duration_ms, facts)
        return result

    @staticmethod
    def _completed(
        name: str,
        phase: str,
        context: HookContext,
        duration_ms: float,
        result: HookResult,
        facts: dict[str, str],
    ) -> None:
        result.execution_time_ms = result.execution_time_ms or round(duration_ms)
        rows = result.rows_affected
        logger.info(
            "hook_completed",
            extra={"duration_ms": round(duration_ms), "rows_affected": rows, **facts},
        )
        _send_finished(name, phase, context, duration_ms, outcome="completed", result=result)

    @staticmethod
    def _failed(
        name: str,
        phase: str,
        context: HookContext,
        duration_ms: float,
        error: Exception,
        facts: dict[str, str],
    ) -> None:
        error.add_note(f"The hook {name} ran in migration {context.label}, phase {phase}.")
        logger.error(
            "hook_failed",
            exc_info=error,
            extra={"duration_ms": round(duration_ms), "error": str(error), **facts},
        )
        _send_finished(name, phase, context, duration_ms, outcome="failed", error=error)


def _migration_facts(context: HookContext) -> dict[str, str]:
    return {"migration": context.migration_name, "app_label": context.app_label}


def _name(hook: object) -> str:
    return hook.__name__ if isinstance(hook, type) else type(hook).__name__


def _instance(hook: Hook | type[Hook]) -> Hook:
    instance = hook() if isinstance(hook, type) else hook
    if not isinstance(instance, Hook):
        raise TypeError(f"{instance!r} is no Hook; pass subclasses of django_confiture.Hook.")
    return instance


def _skip_reason(hook: Hook, context: HookContext) -> str:
    if context.direction not in hook.directions:
        return f"direction {context.direction} is not in its directions {hook.directions}"
    if context.dry_run and not hook.runs_in_dry_run:
        return "runs_in_dry_run is False"
    return ""


def _checked(result: object, name: str, context: HookContext) -> HookResult:
    if isinstance(result, HookResult):
        return result
    raise TypeError(
        f"in migration {context.label}, execute() returned {type(result).__name__}, not a "
        f'HookResult; end it with "return HookResult(phase=..., hook_name={name!r})".'
    )


def _savepoint(
    conn: psycopg.Connection[Any], context: HookContext
) -> AbstractContextManager[object]:
    """Return a savepoint on ``conn``: Django's where Django owns it, else the driver's.

    Only Django's own ``atomic`` leaves its connection usable after an ORM error in a hook.
    """
    if alias := _django_alias(conn, context):
        return transaction.atomic(using=alias)
    return _driver_savepoint(conn)


def _django_alias(conn: psycopg.Connection[Any], context: HookContext) -> str | None:
    if context.connection is not None and context.connection.connection is conn:
        return context.connection.alias
    if not settings.configured:
        return None
    owners = connections.all(initialized_only=True)
    return next((owner.alias for owner in owners if owner.connection is conn), None)


@contextmanager
def _driver_savepoint(conn: psycopg.Connection[Any]) -> Iterator[None]:
    if not conn.autocommit and conn.info.transaction_status == TransactionStatus.IDLE:
        # Outside a transaction the driver's block would commit, which is the caller's to do.
        conn.execute("")
    with conn.transaction():
        yield


@contextmanager
def _statement_timeout(conn: psycopg.Connection[Any], hook: Hook) -> Iterator[None]:
    """Set ``statement_timeout`` for the savepoint; a rollback of it restores the old value."""
    timeout = conf.parse_duration(hook.timeout, name=f"{_name(hook)}.timeout")
    if timeout is None:
        yield
        return
    row = conn.execute("SELECT current_setting('statement_timeout')").fetchone()
    (before,) = row if row is not None else ("0",)
    set_timeout = "SELECT set_config('statement_timeout', %s, true)"
    conn.execute(set_timeout, [f"{max(1, round(timeout.total_seconds() * 1000))}ms"])
    yield
    conn.execute(set_timeout, [before])


def _warn_if_slow(hook: Hook, duration_ms: float, facts: dict[str, str]) -> None:
    timeout = conf.parse_duration(hook.timeout, name=f"{_name(hook)}.timeout")
    if timeout is not None and duration_ms > timeout.total_seconds() * 1000:
        logger.warning(
            "hook_over_timeout",
            extra={"duration_ms": round(duration_ms), "timeout": hook.timeout, **facts},
        )


def _send_finished(
    name: str,
    phase: str,
    context: HookContext,
    duration_ms: float,
    *,
    outcome: str,
    result: HookResult | None = None,
    error: Exception | None = None,
    reason: str = "",
) -> None:
    signals.hook_finished.send_robust(
        sender=signals.sender_for(context.app_label),
        hook=name,
        phase=phase,
        outcome=outcome,
        duration_ms=duration_ms,
        result=result,
        error=error,
        reason=reason,
        context=context,
    )
