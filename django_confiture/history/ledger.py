"""What is written into the ledger, and what is read from it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from datetime import datetime
from typing import Any

from django.db import connections, router, transaction
from django.utils import timezone

from django_confiture.history import chain
from django_confiture.history.comparing import (
    Comparison,
    Factor,
    MigrationForecast,
    compare,
    factors_of,
)
from django_confiture.history.models import (
    Forecast,
    HookExecution,
    LedgerHead,
    MigrationExecution,
    StatementExecution,
)

PATIENCE = {"lock_timeout": "2s", "statement_timeout": "10s"}
"""A record is worth no more of a migration's time."""


def append(
    execution: MigrationExecution,
    statements: Sequence[StatementExecution],
    hooks: Sequence[HookExecution],
    *,
    using: str,
) -> tuple[int, str]:
    """Add one execution at the end of the chain; return its number and hash."""
    with _writing(using):
        head = _head(using)
        execution.number = head.last_number + 1
        execution.previous_hash = head.last_hash
        chain.sign(execution, statements, hooks)
        execution.save(using=using, force_insert=True)
        for statement in statements:
            statement.execution = execution
        for hook in hooks:
            hook.execution = execution
        StatementExecution.objects.using(using).bulk_create(statements, batch_size=500)
        HookExecution.objects.using(using).bulk_create(hooks, batch_size=500)
        head.last_number, head.last_hash = execution.number, execution.hash
        chain.sign_head(head)
        head.save(using=using)
    return execution.number, execution.hash


def prune(before: datetime, *, using: str) -> int:
    """Delete the executions and forecasts from before a moment; return how many executions.

    The ledger then begins after them; only its oldest end is cut, so that the chain holds.
    """
    with _writing(using):
        head = LedgerHead.objects.using(using).select_for_update().filter(pk=1).first()
        Forecast.objects.using(using).filter(made_at__lt=before).delete()
        rows = MigrationExecution.objects.using(using)
        kept = rows.filter(started_at__gte=before).order_by("number").first()
        old = rows if kept is None else rows.filter(number__lt=kept.number)
        last = old.order_by("number").last()
        if head is None or last is None:
            return 0
        count = old.count()
        head.pruned_number, head.pruned_hash = last.number, last.hash
        old.delete()
        chain.sign_head(head)
        head.save(using=using)
    return count


def store_forecast(report: Any) -> int:
    """Keep what a dry run's report forecast of each migration; return of how many.

    Takes a :class:`~django_confiture.dry_run.results.Report`.
    """
    using = router.db_for_write(Forecast)
    now = timezone.now()
    found = forecasts_in(map(asdict, report.migrations))
    rows = [
        Forecast(
            made_at=now,
            database=report.database.alias,
            app_label=each.app_label,
            name=each.name,
            direction=each.direction,
            estimate=each.estimate,
            statements=each.statements,
        )
        for each in found
    ]
    with _writing(using):
        Forecast.objects.using(using).bulk_create(rows)
    return len(rows)


def forecasts_in(migrations: Iterable[Mapping[str, Any]]) -> list[MigrationForecast]:
    """Return the forecasts of a report's ``migrations``, as its JSON has them."""
    return [MigrationForecast.of(each) for each in migrations if each.get("estimate")]


def observed(
    database: str, forecasts: Iterable[MigrationForecast] | None = None
) -> list[Comparison]:
    """Return each forecast of migrations of ``database`` that can be held against a real run.

    Each completed run is compared with the last forecast made before it. ``forecasts`` of a
    report file, which has no date, are compared with the last run of each migration.
    """
    rows = MigrationExecution.objects.using(router.db_for_read(MigrationExecution))
    completed = rows.filter(database=database, outcome="completed").order_by("number")
    with_statements = completed.prefetch_related("statements")
    if forecasts is None:
        pairs = _with_last_forecast(with_statements, database)
    else:
        last = {_key(run): run for run in with_statements}
        pairs = ((last[_key(each)], each) for each in forecasts if _key(each) in last)
    return [found for run, forecast in pairs for found in compare(run, forecast)]


def factors(alias: str) -> dict[str, Factor]:
    """Return by how much forecasts for this database were off, for each kind of statement.

    Kinds that were observed fewer than three times are not in it.
    """
    return factors_of(observed(alias))


def _with_last_forecast(
    runs: Iterable[MigrationExecution], database: str
) -> Iterator[tuple[MigrationExecution, MigrationForecast]]:
    stored: dict[tuple[str, str, str], list[Forecast]] = {}
    known = Forecast.objects.using(router.db_for_read(Forecast)).filter(database=database)
    for each in known.order_by("made_at", "pk"):
        stored.setdefault(_key(each), []).append(each)
    for run in runs:
        before = [f for f in stored.get(_key(run), ()) if f.made_at <= run.started_at]
        if before:
            last = before[-1]
            yield (
                run,
                MigrationForecast(
                    last.app_label, last.name, last.direction, last.estimate, last.statements
                ),
            )


def _head(using: str) -> LedgerHead:
    """Return the head, locked; made anew where there is none.

    Where rows have lost their head, the chain goes on with a break that everybody will see.
    """
    head, created = LedgerHead.objects.using(using).select_for_update().get_or_create(pk=1)
    if created:
        last = MigrationExecution.objects.using(using).order_by("number").last()
        head.last_number = last.number if last is not None else 0
    return head


def _key(row: MigrationExecution | Forecast | MigrationForecast) -> tuple[str, str, str]:
    return row.app_label, row.name, row.direction


@contextmanager
def _writing(using: str) -> Iterator[None]:
    """Write all or nothing, and wait for nobody for long."""
    connection = connections[using]
    outermost = not connection.in_atomic_block
    with transaction.atomic(using=using):
        if outermost and connection.vendor == "postgresql":
            with connection.cursor() as cursor:
                for name, value in PATIENCE.items():
                    cursor.execute("SELECT set_config(%s, %s, true)", [name, value])
        yield
