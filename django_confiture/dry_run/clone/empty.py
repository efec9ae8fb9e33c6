"""An empty database for a while, on the server of another one, with its encoding and locale."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Any

import psycopg
from psycopg import sql

from django_confiture.dry_run.clone.dropping import drop
from django_confiture.dry_run.clone.leftovers import (
    connection_limit,
    drop_leftovers,
    lock_key,
    new_name,
)
from django_confiture.dry_run.clone.maintenance import maintenance_connection
from django_confiture.exceptions import DryRunRefused
from django_confiture.formatting import one_line

if TYPE_CHECKING:
    from django.db.backends.base.base import BaseDatabaseWrapper

logger = logging.getLogger("django_confiture.dry_run")

_LIKE = """
SELECT pg_catalog.pg_encoding_to_char(encoding), datcollate, datctype
FROM pg_catalog.pg_database WHERE datname = %s
"""


@contextmanager
def empty_database(server: BaseDatabaseWrapper, name: str) -> Iterator[str]:
    """Make a database on a server, in the manner of the one called ``name`` if that is there.

    Yields its name, and drops it on every way out; what a killed process leaves behind, the next
    one drops.
    """
    with closing(maintenance_connection(server, name)) as conn:
        for line in drop_leftovers(conn):
            logger.info(line)
        made = new_name(name)
        conn.execute("SELECT pg_catalog.pg_advisory_lock(%s)", [lock_key(made)])
        try:
            _create(conn, made, like=name)
            yield made
        finally:
            if (failure := drop(made, conn, server, beside=name)) is not None:
                logger.warning(
                    "The empty database %s could not be dropped (%s); the next run that makes one "
                    "will, or DROP DATABASE.",
                    made,
                    one_line(failure),
                )


def _create(conn: psycopg.Connection[Any], name: str, *, like: str) -> None:
    found = conn.execute(_LIKE, [like]).fetchone()
    manner: sql.Composable = sql.SQL("")
    if found is not None:
        manner = sql.SQL(" ENCODING {} LC_COLLATE {} LC_CTYPE {}").format(*map(sql.Literal, found))
    statement = sql.SQL("CREATE DATABASE {} TEMPLATE template0{} CONNECTION LIMIT {}").format(
        sql.Identifier(name), manner, sql.Literal(connection_limit(name))
    )
    try:
        conn.execute(statement)
    except psycopg.errors.InsufficientPrivilege as error:
        raise DryRunRefused(
            f"The role {conn.info.user} may not create databases, which this needs; "
            "ALTER ROLE ... CREATEDB"
        ) from error
    except psycopg.Error as error:
        raise DryRunRefused(f"No empty database could be made: {one_line(error)}") from error
