"""Receivers of signals that write real migrations, hooks and dry runs into the ledger."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from itertools import dropwhile
from typing import TYPE_CHECKING, Any

from django.db import connections, router

from django_confiture import conf, signals
from django_confiture.history import ledger
from django_confiture.history.dry_run_rows import rows_of
from django_confiture.history.models import DryRun, MigrationExecution
from django_confiture.history.recording_errors import logger, quietly, warn
from django_confiture.history.run_recorder import Run
from django_confiture.migrate.known_forecasts import table_exists
from django_confiture.migrate.phases import creating_test_database

if TYPE_CHECKING:
    from django.db.migrations.migration import Migration

    from django_confiture.hooks.base import HookContext

Key = tuple[str, str]
"""The alias, and a migration's label."""

_runs: dict[Key, Run] = {}
"""The migrations that run now: one may call ``migrate`` for others."""

_waiting: deque[Any] = deque(maxlen=1000)
"""Runs from before the ledger's tables existed: a migration makes them, too."""


def connect() -> None:
    """Connect the receivers."""
    for name, receiver in _RECEIVERS.items():
        getattr(signals, name).connect(receiver, dispatch_uid=f"{__name__}.{name}")


def disconnect() -> None:
    """Disconnect the receivers, and forget what could not be written."""
    for name in _RECEIVERS:
        getattr(signals, name).disconnect(dispatch_uid=f"{__name__}.{name}")
    _waiting.clear()


def _started(
    *, migration: Migration, using: str, direction: str, context: HookContext, **_: object
) -> None:
    if context.dry_run or creating_test_database():
        return
    key = _key(using, migration)
    with quietly("a migration", migration):
        _close(key)
        _runs[key] = Run(migration, connections[using], direction)


def _retried(
    *,
    migration: Migration,
    using: str,
    blocked_by: Sequence[dict[str, Any]] = (),
    **_: object,
) -> None:
    if run := _runs.get(_key(using, migration)):
        if not run.knows_blockers:  # a wait too short to be told of
            run.blocked(blocked_by, relation=None, mode=None, waited_ms=None)
        run.retried()


def _waits(
    *, migration: Migration, using: str, blocked_by: Sequence[dict[str, Any]], **facts: Any
) -> None:
    if run := _runs.get(_key(using, migration)):
        wait = {name: facts[name] for name in ("relation", "mode", "waited_ms")}
        run.blocked(blocked_by, **wait)


def _hook_finished(*, context: HookContext, **facts: Any) -> None:
    run = None if context.dry_run else _runs.get((context.using or "", context.label))
    if run is not None:
        with quietly("a hook", run.migration):
            run.hook(facts)


def _ended(
    *,
    migration: Migration,
    using: str,
    context: HookContext,
    duration_ms: float | None = None,
    error: BaseException | None = None,
    **_: object,
) -> None:
    run = _close(_key(using, migration))
    if run is None:
        return
    with quietly("a migration", migration):
        _waiting.append(run.rows(duration_ms, error))
        _write_all(run, context)


def _write_all(run: Run, context: HookContext) -> None:
    alias = router.db_for_write(MigrationExecution)
    if not table_exists(MigrationExecution, alias):
        if _makes_the_ledger(context):
            return  # and then writes what is waiting
        table = MigrationExecution._meta.db_table
        missing = f"there is no table {table} in {alias!r}: manage.py migrate confiture_history"
        warn("a migration so far", missing, run.migration)
        return
    while _waiting:
        execution, *others = _waiting.popleft()
        number, digest = ledger.append(execution, *others, using=alias)
        facts = {"migration": execution.name, "app_label": execution.app_label}
        logger.info("recorded", extra={**facts, "number": number, "hash": digest})


def _makes_the_ledger(context: HookContext) -> bool:
    """Return whether this migration, or one that the plan has after it, is of the ledger's app."""
    app_label = MigrationExecution._meta.app_label
    rest = dropwhile(lambda label: label != context.label, context.plan)
    return context.app_label == app_label or any(
        label.startswith(f"{app_label}.") for label in rest
    )


def _key(using: str, migration: Migration) -> Key:
    return using, str(migration)


def _close(key: Key) -> Run | None:
    run = _runs.pop(key, None)
    if run is not None:
        run.close()
    return run


def _dry_run_finished(
    *, report_json: str, headline: str, verdict: str, shows_values: bool, **_: object
) -> None:
    if not conf.get("ENABLED"):
        return
    with quietly("a dry run"):
        alias = router.db_for_write(DryRun)
        if table_exists(DryRun, alias):
            row, forecasts = rows_of(
                report_json, headline=headline, verdict=verdict, shows_values=shows_values
            )
            number, digest = ledger.append_dry_run(row, forecasts, using=alias)
            logger.info("dry_run_recorded", extra={"number": number, "hash": digest})


_RECEIVERS = {
    "migration_started": _started,
    "migration_retried": _retried,
    "migration_waits": _waits,
    "hook_finished": _hook_finished,
    "migration_finished": _ended,
    "migration_failed": _ended,
    "dry_run_finished": _dry_run_finished,
}
