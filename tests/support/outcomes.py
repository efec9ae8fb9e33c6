"""The three ways to run a plan that the artifacts are told by: for real, naively, rehearsed."""

from __future__ import annotations

from django.db import connections, transaction
from django.db.migrations import Migration

from tests.support.dry_run import for_real, rehearse

WAYS = ("real", "naive", "rehearsed")


def outcome(way: str, *migrations: Migration, using: str = "default") -> str:
    """Run a plan one of :data:`WAYS`; return ``""`` or the first error."""
    return {"real": for_real, "naive": naively, "rehearsed": rehearsed}[way](
        *migrations, using=using
    )


def naively(*migrations: Migration, using: str = "default") -> str:
    """Apply migrations by Django's own executor in one transaction, and roll it back."""
    error = ""
    try:
        with transaction.atomic(using):
            error = for_real(*migrations, using=using)
            transaction.set_rollback(True, using)
    except Exception as leaving:  # noqa: BLE001 - the transaction has ended already
        error = error or f"{type(leaving).__name__}: {leaving}"
    finally:
        connections[using].close()
    return error


def rehearsed(*migrations: Migration, using: str = "default") -> str:
    """Dry-run migrations; the error's type is the driver's."""
    report = rehearse(*migrations, using=using)
    assert report.error is None
    errors = [result.error for result in report.migrations if result.error is not None]
    return f"{errors[0].type}: {errors[0].message}" if errors else ""
