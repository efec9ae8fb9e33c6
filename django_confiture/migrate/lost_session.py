"""The error for a migration whose session has ended: what happened, where, how to go on."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

import psycopg
from django.core.management.base import CommandError
from psycopg import errors

from django_confiture.dry_run_mark import in_dry_run
from django_confiture.exceptions import HookError, MigrationSessionLost
from django_confiture.formatting import one_line
from django_confiture.migrate.sessions.migration_transaction import Outcome
from django_confiture.migrate.stopped import left_without_transaction, operation_at

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from django.db.backends.base.schema import BaseDatabaseSchemaEditor
    from django.db.migrations.migration import Migration

_TERMINATED = "Someone ended it with pg_terminate_backend(), or the server was stopped."
_TIMEOUT = "Raise {} for the role that migrates, or let the migration do less at a time."
_WHY: Mapping[type[psycopg.Error], str] = {
    errors.AdminShutdown: _TERMINATED,
    errors.IdleInTransactionSessionTimeout: _TIMEOUT.format("idle_in_transaction_session_timeout"),
    errors.IdleSessionTimeout: _TIMEOUT.format("idle_session_timeout"),
    errors.TransactionTimeout: _TIMEOUT.format("transaction_timeout"),
    errors.CrashShutdown: "The server restarts after a crash.",
}
_ATOMIC = "All of it was rolled back. Run migrate again; it begins with this migration."
_UNLESS_IT_COMMITTED = (
    "All of it was rolled back, unless it sent a COMMIT of its own. Run migrate again; it begins "
    "with this migration."
)
_COMMITTED_ITSELF = (
    "It had sent a COMMIT of its own, so what it did before that is committed, and migrate would "
    "begin it again at its first operation. Look at what is there, and undo it before you run "
    "migrate again; a migration that commits is better written with atomic = False."
)
_STILL_OPEN = (
    "The server has not ended its transaction yet, and rolls it back once it notices that the "
    "connection is gone. Then run migrate again; it begins with this migration."
)
_CLOSED_ITSELF = (
    "Its own code has closed the connection inside a transaction, and would do so again: call "
    "close_old_connections(), connection.close(), or a command that does, outside of atomic() "
    "only, or not at all. What was not committed is rolled back."
)
_AT_COMMIT = (
    "It was at its COMMIT, so it may have been applied or not: showmigrations says which. Run "
    "migrate again, which applies what is missing."
)
_BROKEN = re.compile(
    r"the connection is (closed|lost)|(server|SSL connection).* closed|consuming input failed"
    r"|sending (query|prepared query) failed"
)
"""What libpq and psycopg say of a connection that broke without a word from the server."""
_UNREACHABLE = re.compile(r"connection (failed|is bad|timeout)")
"""What psycopg says where no connection is to be had: Django tries to get one at a rollback."""


@dataclass(frozen=True)
class Ended:
    """What the server, or the driver, said of a session that ended."""

    first_line: str
    why: str


def what_ended(error: BaseException) -> Ended | None:
    """Return what is said of the session's end; None where that is not the error.

    What names its own reason is another error: a hook that failed, or a migration that gave way.
    """
    cause = _cause(error)
    if cause is None or isinstance(error, CommandError | HookError):
        return None
    why = _WHY.get(type(cause))
    if why is None and (cause.sqlstate is not None or not _BROKEN.search(str(cause))):
        return None
    return Ended(_first_line(cause), why or "")


def explained(
    error: BaseException,
    migration: Migration,
    editor: BaseDatabaseSchemaEditor,
    *,
    outcome: Callable[[], Outcome],
    resumes: bool,
    at_commit: bool = False,
) -> BaseException:
    """Return the error to raise: the same one, unless the session has ended.

    ``outcome`` is asked how the transaction of an atomic migration ended.
    """
    said = what_ended(error)
    if said is None or in_dry_run(editor.connection):
        return error
    closed = editor.connection.closed_in_transaction
    if not editor.atomic_migration:
        left = left_without_transaction(resumes=resumes)
    else:
        left = "" if closed else _left_by(outcome(), at_commit=at_commit)
    parts = (
        f"{migration} stopped, as its database session ended: {said.first_line}.",
        operation_at(chain(error), migration),
        _CLOSED_ITSELF if closed else said.why,
        left,
    )
    return MigrationSessionLost(" ".join(filter(None, parts)))


def _left_by(outcome: Outcome, *, at_commit: bool) -> str:
    """Return what is left of an atomic migration, and the way on."""
    if outcome is Outcome.ABORTED:
        return _ATOMIC
    if at_commit:
        return _AT_COMMIT
    if outcome is Outcome.COMMITTED:
        return _COMMITTED_ITSELF
    return _STILL_OPEN if outcome is Outcome.IN_PROGRESS else _UNLESS_IT_COMMITTED


def _cause(error: BaseException) -> psycopg.Error | None:
    """Return the driver's error that is behind Django's: the first, not one of a new connection."""
    found = [each for each in chain(error) if isinstance(each, psycopg.Error)]
    return next((each for each in found if not _is_unreachable(each)), next(iter(found), None))


def chain(error: BaseException | None) -> Iterator[BaseException]:
    """Yield the errors from which one was raised, and those that a failed connection hides."""
    while error is not None:
        yield error
        hidden = error.__context__ if _is_unreachable(error) else None
        error = error.__cause__ or hidden


def _is_unreachable(error: BaseException) -> bool:
    return isinstance(error, psycopg.Error) and _UNREACHABLE.match(str(error)) is not None


def _first_line(cause: psycopg.Error) -> str:
    lines = [line for line in str(cause).splitlines() if line.strip()]
    return one_line(lines[0]).rstrip(".") if lines else type(cause).__name__
