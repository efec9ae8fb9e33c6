"""A trigger that fills rows which are inserted or changed while a backfill is under way.

It sets what the backfill's ``values`` would: on INSERT where the row is still to be done; on
UPDATE also where the row was done already and the statement itself leaves the result alone, since
what it was computed from may have changed. Such a row is one that would still have to be done if
the result were NULL, or the fields' defaults.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import psycopg
from django.db import Error, connections
from django.db.models import Value
from django.db.models.sql.query import Query

from django_confiture.backfills.error_kinds import ErrorKind, backoff, kind_of
from django_confiture.backfills.models import ENDED, BackfillRun
from django_confiture.backfills.options import backfill_options
from django_confiture.backfills.safeguards.transactions import brief, set_timeouts
from django_confiture.exceptions import BackfillError

if TYPE_CHECKING:
    from django_confiture.backfills.declared.declaration import Backfill

ATTEMPTS = 10


def install(run: BackfillRun, backfill: Backfill, *, using: str) -> None:
    """Make the trigger, where the backfill wants one and it is not there yet."""
    if backfill.mirror and not _marked(run, using):
        _with_retries(run, using, _create(run, backfill, using), mirrored=True)


def remove(run: BackfillRun, *, using: str) -> None:
    """Drop the trigger, where there is one; the class may be gone from the code by then."""
    if not _marked(run, using):
        return
    drop = [f"DROP FUNCTION IF EXISTS {_trigger_name(run)}()"]
    with connections[using].cursor() as cursor:
        cursor.execute(
            "SELECT tgrelid::pg_catalog.regclass FROM pg_catalog.pg_trigger WHERE tgname = %s"
            " AND pg_catalog.pg_table_is_visible(tgrelid)",
            [_trigger_name(run)],
        )
        drop[:0] = [
            f"DROP TRIGGER IF EXISTS {_trigger_name(run)} ON {table}" for (table,) in cursor
        ]
    _with_retries(run, using, drop, mirrored=False)


def _trigger_name(run: BackfillRun) -> str:
    return f"confiture_backfill_{run.pk}"


def _marked(run: BackfillRun, using: str) -> bool:
    return BackfillRun.objects.using(using).filter(pk=run.pk, mirrored=True).exists()


def _with_retries(run: BackfillRun, using: str, statements: list[str], *, mirrored: bool) -> None:
    """Execute DDL so that no session queues behind it for longer than the lock timeout."""
    timeout = {"lock_timeout": backfill_options().lock_timeout}
    for attempt in range(1, ATTEMPTS + 1):
        try:
            with brief(using):
                locked = BackfillRun.objects.using(using).select_for_update().get(pk=run.pk)
                if locked.mirrored is mirrored or (mirrored and locked.state in ENDED):
                    return  # another worker may have ended it, and dropped the trigger
                set_timeouts(using, timeout)
                with connections[using].cursor() as cursor:
                    for statement in statements:
                        cursor.execute(statement)
                BackfillRun.objects.using(using).filter(pk=run.pk).update(mirrored=mirrored)
        except Error as error:
            connection = connections[using]
            kind = kind_of(error, connection)
            lost = kind is ErrorKind.LOST and not connection.in_atomic_block
            if attempt == ATTEMPTS or not (lost or kind is ErrorKind.BUSY):
                raise
            if lost:
                connection.close()
            time.sleep(backoff(attempt) if lost else 0.5 * attempt)
        else:
            return


def _create(run: BackfillRun, backfill: Backfill, using: str) -> list[str]:
    """Return the DDL of the function and its trigger."""
    table = connections[using].ops.quote_name(backfill.model_in()._meta.db_table)
    name, body = _trigger_name(run), _body(backfill, table, using)
    tag = "$confiture$"
    while tag in body:
        tag = f"{tag[:-1]}_$"
    function = (
        f"CREATE OR REPLACE FUNCTION {name}() RETURNS trigger LANGUAGE plpgsql"
        f" SET search_path FROM CURRENT AS {tag}{body}{tag}"
    )
    trigger = (
        f"CREATE TRIGGER {name} BEFORE INSERT OR UPDATE ON {table}"
        f" FOR EACH ROW EXECUTE FUNCTION {name}()"
    )
    return [function, f"DROP TRIGGER IF EXISTS {name} ON {table}", trigger]


def _body(backfill: Backfill, table: str, using: str) -> str:
    quote, meta = connections[using].ops.quote_name, backfill.model_in()._meta
    fields: list[Any] = [meta.get_field(name) for name in backfill.values or {}]
    columns = [quote(field.column) for field in fields]
    to_do = _condition(backfill, using)
    empty = " ".join(f"undone.{column} := NULL;" for column in columns)
    unset = " ".join(
        f"unset.{column} := {value};"
        for column, value in zip(columns, _defaults(backfill, fields, using), strict=True)
    )
    kept = " AND ".join(f"NEW.{column} IS NOT DISTINCT FROM OLD.{column}" for column in columns)
    targets = ", ".join(f"NEW.{column}" for column in columns)
    return f"""
        #variable_conflict use_column
        DECLARE undone {table}; unset {table};
        BEGIN
          undone := NEW;
          unset := NEW;
          IF TG_OP = 'UPDATE' THEN
            IF NOT ({kept}) THEN RETURN NEW; END IF;
            {empty}
            {unset}
          END IF;
          IF EXISTS (SELECT FROM (SELECT (NEW).*) AS {table} WHERE {to_do})
            OR EXISTS (SELECT FROM (SELECT (undone).*) AS {table} WHERE {to_do})
            OR EXISTS (SELECT FROM (SELECT (unset).*) AS {table} WHERE {to_do})
          THEN
            SELECT {_expressions(backfill, using)} INTO {targets}
              FROM (SELECT (NEW).*) AS {table};
          END IF;
          RETURN NEW;
        END """


def _defaults(backfill: Backfill, fields: Sequence[Any], using: str) -> list[str]:
    """Return as SQL what the fields hold where nothing was set, as far as that is one value."""
    query = backfill.rows(using).query
    values = [None if callable(field.default) else field.get_default() for field in fields]
    return [
        _sql(query, Value(value, field).resolve_expression(query, for_save=True), using)
        for value, field in zip(values, fields, strict=True)
    ]


def _condition(backfill: Backfill, using: str) -> str:
    """Return ``where`` as SQL over a row that is named like the table."""
    query = backfill.rows_to_do(using).query
    return _sql(query, query.where, using)


def _expressions(backfill: Backfill, using: str) -> str:
    """Return ``values`` as SQL over a row that is named like the table."""
    query = backfill.rows(using).query
    compiled = []
    for name, value in (backfill.values or {}).items():
        field: Any = query.get_meta().get_field(name)
        given: Any = value if hasattr(value, "resolve_expression") else Value(value, field)
        resolved = given.resolve_expression(query, allow_joins=False, for_save=True)
        compiled.append(_sql(query, resolved, using))
    return ", ".join(compiled)


def _sql(query: Query, part: Any, using: str) -> str:
    """Return a part of a query with its parameters in it: DDL takes none."""
    text, params = query.get_compiler(using).compile(part)
    if len(query.alias_map) > 1:
        raise BackfillError(
            f"mirror can't look at other tables, as {part} does; leave mirror out, and let the "
            "new code fill new rows."
        )
    connection = connections[using]
    connection.ensure_connection()
    return psycopg.ClientCursor(connection.connection).mogrify(text, params)
