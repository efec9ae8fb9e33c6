"""What a backfill does about an error: by what the server says, not by when the socket closes."""

from __future__ import annotations

import psycopg
import pytest
from django.db import DataError, OperationalError, connection
from psycopg import errors

from django_confiture.backfills.error_kinds import ErrorKind, kind_of

pytestmark = pytest.mark.django_db


@pytest.mark.parametrize(
    "cause",
    [
        errors.AdminShutdown,
        errors.CrashShutdown,
        errors.CannotConnectNow,
        errors.IdleSessionTimeout,
        errors.IdleInTransactionSessionTimeout,
        errors.ConnectionFailure,
    ],
)
def test_what_ends_the_session_is_a_lost_connection_before_the_socket_is_closed(
    cause: type[psycopg.Error],
) -> None:
    connection.ensure_connection()
    error = OperationalError("terminating connection")
    error.__cause__ = cause("terminating connection")
    assert not connection.connection.closed
    assert kind_of(error, connection) is ErrorKind.LOST


@pytest.mark.parametrize(
    ("cause", "kind"),
    [
        (errors.LockNotAvailable, ErrorKind.BUSY),
        (errors.QueryCanceled, ErrorKind.BUSY),
        (errors.UndefinedColumn, ErrorKind.HOPELESS),
        (errors.DiskFull, ErrorKind.HOPELESS),
        (errors.StringDataRightTruncation, ErrorKind.ROW),
    ],
)
def test_other_errors(cause: type[psycopg.Error], kind: ErrorKind) -> None:
    connection.ensure_connection()
    error = DataError("no")
    error.__cause__ = cause("no")
    assert kind_of(error, connection) is kind
