"""Adds rows to the ledger, and deletes its oldest ones."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Any

from django.db import connections, transaction
from django.db.models import Model

from django_confiture.history import hash_chain
from django_confiture.history.accuracy import (
    MigrationForecast,
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
"""A migration doesn't wait longer than this for its record."""
LOST = "lost"
"""Stands for the previous hash if the head that had it was deleted."""


def append(
    execution: MigrationExecution,
    statements: Sequence[StatementExecution],
    hooks: Sequence[HookExecution],
    *,
    using: str,
) -> tuple[int, str]:
    """Add one execution at the end of the chain; return its number and hash."""
    return _append(
        hash_chain.EXECUTIONS,
        execution,
        {"statements": statements, "hooks": hooks},
        "execution",
        using,
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
    return _append(hash_chain.DRY_RUNS, dry_run, {"forecasts": rows}, "dry_run", using)


def prune(before: datetime, *, using: str) -> tuple[int, int]:
    """Delete the rows from before a moment; return the number of executions and of dry runs.

    Only the oldest end of each ledger is cut, so that the chains hold.
    """
    with _writing(using):
        return (
            _prune(hash_chain.EXECUTIONS, "started_at", before, using),
            _prune(hash_chain.DRY_RUNS, "made_at", before, using),
        )


def _append(
    ledger: hash_chain.Ledger,
    row: MigrationExecution | DryRun,
    parts: Mapping[str, Sequence[Model]],
    owner: str,
    using: str,
) -> tuple[int, str]:
    with _writing(using):
        head = _head(ledger, using)
        row.number = head.last_number + 1
        row.previous_hash = head.last_hash
        hash_chain.sign(ledger, row, parts)
        row.save(using=using, force_insert=True)
        for each in parts.values():
            for part in each:
                setattr(part, owner, row)
            if each:
                type(each[0])._default_manager.using(using).bulk_create(each, batch_size=500)
        head.last_number, head.last_hash = row.number, row.hash
        hash_chain.sign_head(head)
        head.save(using=using)
    return row.number, row.hash


def _prune(ledger: hash_chain.Ledger, moment: str, before: datetime, using: str) -> int:
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
    hash_chain.sign_head(head)
    head.save(using=using)
    return count


def _head(ledger: hash_chain.Ledger, using: str) -> LedgerHead:
    """Return the head, locked.

    If it was deleted, the chain continues with a break that verification reports.
    """
    heads = LedgerHead.objects.using(using).select_for_update()
    head, created = heads.get_or_create(ledger=ledger.name)
    if created:
        rows: Any = ledger.model._default_manager.using(using)
        last = rows.order_by("number").last()
        head.last_number = last.number if last is not None else 0
        head.last_hash = LOST
    return head


@contextmanager
def _writing(using: str) -> Iterator[None]:
    """Write all or nothing, without waiting long for other sessions."""
    connection = connections[using]
    outermost = not connection.in_atomic_block
    with transaction.atomic(using=using):
        if outermost and connection.vendor == "postgresql":
            with connection.cursor() as cursor:
                for name, value in PATIENCE.items():
                    cursor.execute("SELECT set_config(%s, %s, true)", [name, value])
        yield
