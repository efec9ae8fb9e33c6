"""Transactions whose locks a worker can't keep, however long it is frozen in the middle of one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta

from django.db import connections, transaction

from django_confiture import conf
from django_confiture.backfills.options import backfill_options
from django_confiture.postgres import POSTGRESQL_17


def set_timeouts(using: str, timeouts: Mapping[str, timedelta]) -> None:
    """Set timeouts of PostgreSQL's for the rest of the transaction."""
    calls = ", ".join("pg_catalog.set_config(%s, %s, true)" for _ in timeouts)
    values = [text for name, value in timeouts.items() for text in (name, conf.milliseconds(value))]
    with connections[using].cursor() as cursor:
        cursor.execute(f"SELECT {calls}", values)


@contextmanager
def brief(using: str, limits: Mapping[str, timedelta] | None = None) -> Iterator[None]:
    """Begin a transaction that the server ends where this process leaves it idle for a lease.

    Other workers wait for its locks, and would wait forever for a process that is frozen. In a
    transaction that is open already, its own limits count.
    """
    within = connections[using].in_atomic_block
    idle = {"idle_in_transaction_session_timeout": backfill_options().lease}
    with transaction.atomic(using=using):
        if wanted := {**(limits or {}), **({} if within else idle)}:
            set_timeouts(using, wanted)
        yield


@contextmanager
def unhurried(using: str) -> Iterator[None]:
    """Begin a transaction none of whose statements a limit of the role ends.

    They may have to read a whole table.
    """
    connection = connections[using]
    limits = dict.fromkeys(("lock_timeout", "statement_timeout"), timedelta(0))
    if not connection.in_atomic_block and connection.pg_version >= POSTGRESQL_17:  # type: ignore[attr-defined]
        limits["transaction_timeout"] = timedelta(0)
    with brief(using, limits):
        yield
