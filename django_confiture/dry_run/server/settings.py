"""What a dry run sets on its connections, and what the report says of the server."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from django_confiture.dry_run.results import Database
from django_confiture.exceptions import DryRunRefused

if TYPE_CHECKING:
    from django.db.backends.base.base import BaseDatabaseWrapper

    from django_confiture.dry_run.server.side_channel import Session
    from django_confiture.dry_run.settings import DryRunSettings

APPLICATION_NAME = "django-confiture dry run"
_COUNTING = "track_counts"

OPTIONAL = {
    # A killed client is noticed in the middle of a long statement, too.
    "client_connection_check_interval": "2s",
}
"""Settings that a server may refuse: on Windows it can't check whether a client is connected."""


def accepted(session: Session, settings: Mapping[str, str]) -> dict[str, str]:
    """Return the settings without those of :data:`OPTIONAL` that this server refuses."""
    query = "SELECT pg_catalog.set_config($1, $2, true)"
    return {
        name: value
        for name, value in settings.items()
        if name not in OPTIONAL or session.attempt(query, [name, value])
    }


def measuring(session: Session, settings: Mapping[str, str]) -> dict[str, str]:
    """Return the settings of a session in which statements are measured."""
    return {**accepted(session, settings), **_counting(session)}


def _counting(session: Session) -> dict[str, str]:
    """Return the setting without which PostgreSQL counts no scan and no row; ``{}`` if it is on.

    A role that may not set it gets a refusal: what a migration does is read from these counts.
    """
    if session.value(f"SHOW {_COUNTING}") == "on":
        return {}
    if session.attempt("SELECT pg_catalog.set_config($1, 'on', true)", [_COUNTING]):
        return {_COUNTING: "on"}
    raise DryRunRefused(
        "track_counts is off for this session, so PostgreSQL counts neither scans nor rows, and "
        "what the migrations read and write can't be measured; switch it on for the role or the "
        "database (ALTER ROLE ... SET track_counts = on), or connect as a superuser."
    )


def server_settings(settings: DryRunSettings) -> dict[str, str]:
    """Return the settings of a dry run's connections."""
    return {"application_name": APPLICATION_NAME, **OPTIONAL, **settings.timeouts}


def database(session: Session, wrapper: BaseDatabaseWrapper) -> Database:
    """Return what the report says about the database it ran on."""
    name, version, size = session.query(
        "SELECT current_database(), current_setting('server_version'),"
        " pg_catalog.pg_database_size(current_database())"
    )[0]
    return Database(wrapper.alias, name or "", version or "", int(size or 0))
