"""The connection on which databases are made and dropped: to another database of the server."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import psycopg
from psycopg import sql

from django_confiture.dry_run.clone.aliases import APPLICATION_NAME, parameters
from django_confiture.dry_run.server.settings import OPTIONAL, accepted
from django_confiture.dry_run.server.side_channel import Session
from django_confiture.exceptions import DryRunRefused
from django_confiture.formatting import one_line

if TYPE_CHECKING:
    from django.db.backends.base.base import BaseDatabaseWrapper


def maintenance_connection(source: BaseDatabaseWrapper, name: str) -> psycopg.Connection[Any]:
    """Connect to a database of the server of ``source`` that is not the one called ``name``."""
    error: Exception | None = None
    for database in ("postgres", "template1"):
        if database == name:
            continue
        try:
            conn: psycopg.Connection[Any] = psycopg.connect(
                **parameters(source, dbname=database, application_name=APPLICATION_NAME)
            )
        except psycopg.Error as caught:
            error = caught
            continue
        if role := source.settings_dict["OPTIONS"].get("assume_role"):
            conn.execute(sql.SQL("SET ROLE {}").format(sql.Identifier(role)))
        settings = {**accepted(Session(conn), OPTIONAL), "idle_session_timeout": "0"}
        for setting in settings.items():
            conn.execute("SELECT pg_catalog.set_config(%s, %s, false)", setting)
        return conn
    raise DryRunRefused(
        "A clone is made from another database of the server, postgres or template1, and the role "
        f"can connect to neither: {one_line(error)}"
    ) from error
