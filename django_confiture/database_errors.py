"""How a command ends whose database is another one, out of reach, or lacks an app's tables."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
from django.core.management.base import CommandError
from django.db import DEFAULT_DB_ALIAS, Error, connections
from django.db.backends.base.base import BaseDatabaseWrapper
from psycopg import errors

from django_confiture.formatting import one_line

COULD_NOT_START = 2
"""The exit code."""


@contextmanager
def could_not_start(
    wrapper: BaseDatabaseWrapper, doing: str, *, app_label: str | None = None
) -> Iterator[None]:
    """Turn an error of the database into a ``CommandError`` of one line, with exit code 2.

    ``doing`` completes "Cannot … 'default'", such as "read the schema of". ``app_label`` is the app
    whose tables may be missing.
    """
    try:
        yield
    except (Error, psycopg.Error) as error:
        said = database_failure(wrapper, error, doing, app_label=app_label)
        raise CommandError(said, returncode=COULD_NOT_START) from error


def database_failure(
    wrapper: BaseDatabaseWrapper, error: Exception, doing: str, *, app_label: str | None = None
) -> str:
    """Return what to tell the user about an error of the database: one line, with the next step."""
    alias, reason = wrapper.alias, one_line(error)
    if wrapper.connection is None:
        return f"Cannot connect to {alias!r}: {reason}"
    if app_label is not None and f"{app_label}_" in reason and _is_missing_table(error):
        where = "" if alias == DEFAULT_DB_ALIAS else f" --database {alias}"
        return f"Tables of the app are missing in {alias!r}: manage.py migrate {app_label}{where}"
    if _is(errors.InsufficientPrivilege, error):
        reason += ". Connect as the role that migrates, or grant it the privilege."
    return f"Cannot {doing} {alias!r}: {reason}"


def other_database(wrapper: BaseDatabaseWrapper, doing: str) -> str:
    """Return why ``doing``, such as ``"a dry run"``, is impossible on a database of another kind.

    ``""`` on PostgreSQL.
    """
    if wrapper.vendor == "postgresql":
        return ""
    choice = [each.alias for each in connections.all() if each.vendor == "postgresql"]
    fix = (
        f"Choose another alias: {', '.join(map(repr, choice))}."
        if choice
        else 'Set its ENGINE in DATABASES to "django.db.backends.postgresql".'
    )
    return (
        f"The database {wrapper.alias!r} is {wrapper.display_name}; {doing} needs PostgreSQL. {fix}"
    )


def refuse_other_database(wrapper: BaseDatabaseWrapper, doing: str) -> None:
    """Raise a ``CommandError`` with exit code 2 unless the database is PostgreSQL."""
    if problem := other_database(wrapper, doing):
        raise CommandError(problem, returncode=COULD_NOT_START)


def _is(kind: type[psycopg.Error], error: Exception) -> bool:
    """Whether an error of Django or psycopg is of a kind of PostgreSQL's."""
    return isinstance(error, kind) or isinstance(error.__cause__, kind)


def _is_missing_table(error: Exception) -> bool:
    return _is(errors.UndefinedTable, error) or "no such table" in str(error)  # SQLite's words
