"""What is written into the ledger, and what is read from it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Any

from django.db import connections, router, transaction
from django.db.models import Model

from django_confiture.history import chain
from django_confiture.history.comparing import (
    MIGRATION,
    Comparison,
    Factor,
    MigrationForecast,
    compare,
    factors_of,
)
from django_confiture.history.models import (
    DryRun,
    Forecast,
    HookExecution,
    LedgerHead,
    MigrationExecution,
    StatementExecution,
)

PATIENCE = {"lock_timeout": "2s", "statement_timeout": "10s"}
"""A record is worth no more of a migration's time."""
LOST = "lost"
"""Instead of the hash before, where the head that had it was deleted."""


def append(
    execution: MigrationExecution,
    statements: Sequence[StatementExecution],
    hooks: Sequence[HookExecution],
    *,
    using: str,
) -> tuple[int, str]:
    """Add one execution at the end of the chain; return its number and hash."""
    return _append(
        chain.EXECUTIONS, execution, {"statements": statements, "hooks": hooks}, "execution", using
    )


def append_dry_run(
    dry_run: DryRun, forecasts: Sequence[MigrationForecast], *, using: str
) -> tuple[int, str]:
    """Add one dry run with what it forecast of each migration; return its number and hash."""
    rows = [
        Forecast(
            made_at=dry_run.made_at,
            database=dry_run.database,
            app_label=each.app_label,
            name=each.name,
            direction=each.direction,
            estimate=each.estimate,
            statements=each.statements,
        )
        for each in forecasts
    ]
    return _append(chain.DRY_RUNS, dry_run, {"forecasts": rows}, "dry_run", using)


def prune(before: datetime, *, using: str) -> tuple[int, int]:
    """Delete what is from before a moment; return how many executions and how many dry runs.

    The ledgers then begin after them; only their oldest ends are cut, so that the chains hold.
    """
    with _writing(using):
        return (
            _prune(chain.EXECUTIONS, "started_at", before, using),
            _prune(chain.DRY_RUNS, "made_at", before, using),
        )


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
    return [
        found for run, forecast in _pairs(database, forecasts) for found in compare(run, forecast)
    ]


def observed_runs(database: str) -> list[tuple[MigrationExecution, Comparison]]:
    """Return the runs that can be held against a forecast as a whole, in order."""
    return [
        (run, found)
        for run, forecast in _pairs(database)
        for found in compare(run, forecast)
        if found.kind == MIGRATION
    ]


def factors(alias: str) -> dict[str, Factor]:
    """Return by how much forecasts for this database were off, for each kind of statement.

    Kinds that were observed fewer than three times are not in it.
    """
    return factors_of(observed(alias))


def last_durations(alias: str) -> dict[str, float]:
    """Return how many ms each migration took in the last dry run of this database, by label."""
    rows = DryRun.objects.using(router.db_for_read(DryRun)).filter(database=alias)
    text = rows.exclude(report="").order_by("-number").values_list("report", flat=True).first()
    return {
        f"{each['app_label']}.{each['name']}": each["duration_ms"]
        for each in (json.loads(text)["migrations"] if text else ())
        if each["outcome"] == "passed" and each["direction"] == "forward"
    }


def _pairs(
    database: str, forecasts: Iterable[MigrationForecast] | None = None
) -> Iterable[tuple[MigrationExecution, MigrationForecast]]:
    rows = MigrationExecution.objects.using(router.db_for_read(MigrationExecution))
    completed = rows.filter(database=database, outcome="completed").order_by("number")
    with_statements = completed.prefetch_related("statements")
    if forecasts is None:
        return _with_last_forecast(with_statements, database)
    last = {_key(run): run for run in with_statements}
    return ((last[_key(each)], each) for each in forecasts if _key(each) in last)


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


def _append(
    ledger: chain.Ledger,
    row: MigrationExecution | DryRun,
    parts: Mapping[str, Sequence[Model]],
    owner: str,
    using: str,
) -> tuple[int, str]:
    with _writing(using):
        head = _head(ledger, using)
        row.number = head.last_number + 1
        row.previous_hash = head.last_hash
        chain.sign(ledger, row, parts)
        row.save(using=using, force_insert=True)
        for each in parts.values():
            for part in each:
                setattr(part, owner, row)
            if each:
                type(each[0])._default_manager.using(using).bulk_create(each, batch_size=500)
        head.last_number, head.last_hash = row.number, row.hash
        chain.sign_head(head)
        head.save(using=using)
    return row.number, row.hash


def _prune(ledger: chain.Ledger, moment: str, before: datetime, using: str) -> int:
    heads = LedgerHead.objects.using(using).select_for_update()
    head = heads.filter(ledger=ledger.name).first()
    rows: Any = ledger.model._default_manager.using(using)
    kept = rows.filter(**{f"{moment}__gte": before}).order_by("number").first()
    old = rows if kept is None else rows.filter(number__lt=kept.number)
    last = old.order_by("number").last()
    if head is None or last is None:
        return 0
    count: int = old.count()
    head.pruned_number, head.pruned_hash = last.number, last.hash
    old.only("pk").delete()
    chain.sign_head(head)
    head.save(using=using)
    return count


def _head(ledger: chain.Ledger, using: str) -> LedgerHead:
    """Return the head, locked.

    Where it was deleted, the chain goes on with a break that everybody will see.
    """
    heads = LedgerHead.objects.using(using).select_for_update()
    head, created = heads.get_or_create(ledger=ledger.name)
    if created:
        rows: Any = ledger.model._default_manager.using(using)
        last = rows.order_by("number").last()
        head.last_number = last.number if last is not None else 0
        head.last_hash = LOST
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
