"""A hook's own savepoint, with its timeout, on a connection that Django may hold."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TYPE_CHECKING, Any

import psycopg
from django.conf import settings
from django.db import connections, transaction
from psycopg import sql
from psycopg.pq import TransactionStatus
from psycopg.rows import tuple_row

from django_confiture import conf

if TYPE_CHECKING:
    from datetime import timedelta

    from django_confiture.hooks.base import HookContext

_NOT_FAILED = (TransactionStatus.IDLE, TransactionStatus.INTRANS)


@contextmanager
def savepoint(conn: psycopg.Connection[Any], context: HookContext) -> Iterator[None]:
    """Give a hook a savepoint on ``conn``, or a transaction if there is none.

    It is psycopg's, so that ``conn.commit()`` and ``conn.rollback()`` in a hook are errors and do
    not end the migration's transaction.
    """
    alias = _django_alias(conn, context)
    around: AbstractContextManager[object] = nullcontext()
    if alias is not None:
        in_block = connections[alias].in_atomic_block
        around = _tell_django(conn, alias) if in_block else transaction.atomic(using=alias)
    with around:
        if not conn.autocommit and conn.info.transaction_status in _NOT_FAILED:
            # Otherwise psycopg would commit at the end of this block, its outermost. A dry run's
            # transaction has begun, but what it stands for may not have.
            conn.execute("")
        with conn.transaction():
            try:
                yield
            except psycopg.Rollback as error:  # which would end silently here
                raise RuntimeError(
                    "psycopg.Rollback left execute(); raise it inside a "
                    '"with conn.transaction():" of your own.'
                ) from error


@contextmanager
def _tell_django(conn: psycopg.Connection[Any], alias: str) -> Iterator[None]:
    """Tell Django about psycopg's savepoint as its own ``atomic`` would, without a second one.

    After an error the ORM is usable again, and the hook's ``on_commit`` callbacks are dropped.
    """
    wrapper = connections[alias]
    callbacks = len(wrapper.run_on_commit)
    try:
        yield
    except BaseException:
        del wrapper.run_on_commit[callbacks:]
        rolled_back = conn.info.transaction_status == TransactionStatus.INTRANS
        transaction.set_rollback(not rolled_back, using=alias)
        raise


def _django_alias(conn: psycopg.Connection[Any], context: HookContext) -> str | None:
    if context.connection is not None and context.connection.connection is conn:
        return context.connection.alias
    if not settings.configured:
        return None
    owners = connections.all(initialized_only=True)
    return next((owner.alias for owner in owners if owner.connection is conn), None)


@contextmanager
def statement_timeout(conn: psycopg.Connection[Any], timeout: timedelta | None) -> Iterator[None]:
    """Set ``statement_timeout`` until the savepoint ends; a rollback restores the old value."""
    if timeout is None:
        yield
        return
    with conn.cursor(row_factory=tuple_row) as cursor:
        cursor.execute("SELECT current_setting('statement_timeout')")
        before = cursor.fetchone()
        assert before is not None
        cursor.execute(_set_statement_timeout(conf.milliseconds(timeout)))
        yield
        cursor.execute(_set_statement_timeout(before[0]))


def _set_statement_timeout(value: str) -> sql.Composed:
    return sql.SQL("SELECT set_config('statement_timeout', {}, true)").format(value)


def check_transaction(conn: psycopg.Connection[Any], context: HookContext) -> None:
    """Refuse a hook that swallowed an error: its work would be lost without a message."""
    alias = _django_alias(conn, context)
    if conn.info.transaction_status == TransactionStatus.INERROR or (
        alias is not None and transaction.get_rollback(alias)
    ):
        raise RuntimeError(
            "execute() returned, but an error that it caught had aborted the transaction; "
            'let the error out, or put "with transaction.atomic():" around what may fail.'
        )
