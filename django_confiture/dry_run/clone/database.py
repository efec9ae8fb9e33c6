"""The clone of a database: created, used, and dropped however the dry run ends."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from time import perf_counter
from typing import TYPE_CHECKING, Any

import psycopg
from psycopg import errors, sql

from django_confiture.dry_run.clone.aliases import (
    aliases_of,
    close,
    pointed,
)
from django_confiture.dry_run.clone.checks import (
    Source,
    check_rights,
    check_space,
    check_unused,
)
from django_confiture.dry_run.clone.dropping import drop
from django_confiture.dry_run.clone.leftovers import (
    connection_limit,
    drop_leftovers,
    lock_key,
    new_name,
)
from django_confiture.dry_run.clone.maintenance import maintenance_connection
from django_confiture.exceptions import DryRunRefused
from django_confiture.formatting import one_line, size
from django_confiture.postgres import POSTGRESQL_15, POSTGRESQL_18

if TYPE_CHECKING:
    from django.db.backends.base.base import BaseDatabaseWrapper

_WAL_LOG_UP_TO = 64 * 1024 * 1024
"""Bytes up to which WAL is cheaper than the checkpoints of copying files; see benchmarks/."""

_SETTINGS = """
SELECT setrole <> 0, split_part(setting, '=', 1), substr(setting, strpos(setting, '=') + 1)
FROM pg_catalog.pg_db_role_setting, unnest(setconfig) setting
WHERE setdatabase = %s AND setrole IN (0, (SELECT oid FROM pg_catalog.pg_roles
  WHERE rolname = session_user))
ORDER BY 1
"""


@dataclass
class Clone:
    """One clone; ``name`` is its database, ``notes`` are lines for the report."""

    name: str
    source: Source
    maintenance: psycopg.Connection[Any]
    strategy: str = ""
    duration_ms: float = 0.0
    dropped: bool = False
    notes: list[str] = field(default_factory=list)


@contextmanager
def cloned(
    wrapper: BaseDatabaseWrapper,
    source: BaseDatabaseWrapper,
    *,
    say: Callable[[str], None],
) -> Iterator[Clone]:
    """Point ``wrapper``, and every alias of its database, at a new clone of that of ``source``."""
    if wrapper.in_atomic_block or source.in_atomic_block:
        raise DryRunRefused("--clone closes the connection, which is in a transaction.")
    source.ensure_connection()
    known = Source.of(source.alias, source.connection)
    aliases = aliases_of(wrapper, ask=wrapper is source)
    own = aliases if wrapper is source else [*aliases, *aliases_of(source, ask=True)]
    with ExitStack() as stack:
        clone = Clone(new_name(known.name), known, maintenance_connection(source, known.name))
        stack.callback(clone.maintenance.close)
        for line in drop_leftovers(clone.maintenance):
            say(line)
            clone.notes.append(line)
        check_rights(clone.maintenance, known)
        check_space(clone.maintenance, known)
        check_unused(clone.maintenance, known, [pid for w in own if (pid := close(w))])
        stack.callback(_drop, clone, source)
        say(f"Copying {known.name} ({size(known.size)})...")
        _create(clone)
        _copy_settings(clone)
        stack.enter_context(pointed(aliases, source, clone.name))
        yield clone


def _create(clone: Clone) -> None:
    clone.maintenance.execute("SELECT pg_advisory_lock(%s)", [lock_key(clone.name)])
    started = perf_counter()
    try:
        _create_in_the_fastest_way(clone)
    except errors.ObjectInUse as error:
        detail = error.diag.message_detail or ""
        raise DryRunRefused(
            f"{clone.source.name} could not be copied, as someone connected to it at the last "
            f"moment: {detail}"
        ) from error
    except errors.DiskFull as error:
        raise DryRunRefused(
            f"The server's disk is full: a clone of {clone.source.name} needs "
            f"{size(clone.source.size)}. What was copied is removed."
        ) from error
    except psycopg.Error as error:
        raise DryRunRefused(
            f"{clone.source.name} could not be copied: {one_line(error)}"
        ) from error
    clone.duration_ms = (perf_counter() - started) * 1000
    comment = (
        f"Copy of {clone.source.name}, made by manage.py migrate_dryrun --clone, which drops it at "
        "its end. Rename it to keep it."
    )
    clone.maintenance.execute(
        sql.SQL("COMMENT ON DATABASE {} IS {}").format(
            sql.Identifier(clone.name), sql.Literal(comment)
        )
    )


def _create_in_the_fastest_way(clone: Clone) -> None:
    conn = clone.maintenance
    version = conn.info.server_version
    if version >= POSTGRESQL_15 and clone.source.size <= _WAL_LOG_UP_TO:
        clone.strategy = "wal_log"
        conn.execute(_create_statement(clone, "wal_log"))
        return
    if version >= POSTGRESQL_18:
        with suppress(errors.InvalidParameterValue):  # a system that knows no such thing
            conn.execute("SET file_copy_method = clone")
            clone.strategy = "file_copy, clone"
            with suppress(errors.SystemError, errors.InternalError, errors.IoError):
                conn.execute(_create_statement(clone, "file_copy"))
                return
            conn.execute("RESET file_copy_method")  # the file system can't
    clone.strategy = "file_copy"
    conn.execute(_create_statement(clone, "file_copy" if version >= POSTGRESQL_15 else ""))


def _create_statement(clone: Clone, strategy: str) -> sql.Composed:
    chosen = sql.SQL(" STRATEGY {}").format(sql.Identifier(strategy)) if strategy else sql.SQL("")
    return sql.SQL("CREATE DATABASE {} TEMPLATE {} OWNER {} CONNECTION LIMIT {}{}").format(
        sql.Identifier(clone.name),
        sql.Identifier(clone.source.name),
        sql.Identifier(clone.source.owner),
        sql.Literal(connection_limit(clone.name)),
        chosen,
    )


def _copy_settings(clone: Clone) -> None:
    """Give the clone what ALTER DATABASE ... SET gave the source: it is not part of the clone."""
    conn = clone.maintenance
    for of_role, name, value in conn.execute(_SETTINGS, [clone.source.oid]).fetchall():
        target = sql.SQL("DATABASE {}").format(sql.Identifier(clone.name))
        if of_role:
            target = sql.SQL("ROLE session_user IN {}").format(target)
        try:
            with conn.transaction():
                conn.execute("SELECT set_config(%s, %s, true)", [name, value])
                conn.execute(
                    sql.SQL("ALTER {} SET {} FROM CURRENT").format(target, sql.Identifier(name))
                )
        except psycopg.Error as error:
            clone.notes.append(
                f"The clone lacks the setting {name} of its source: {one_line(error)}"
            )


def _drop(clone: Clone, source: BaseDatabaseWrapper) -> None:
    """Drop the clone, or let the report say that it is still there."""
    failure = drop(clone.name, clone.maintenance, source, beside=clone.source.name)
    clone.dropped = failure is None
    if failure is not None:
        clone.notes.append(
            f"The clone {clone.name} could not be dropped ({one_line(failure)}); the next run with "
            "--clone will, or DROP DATABASE."
        )
