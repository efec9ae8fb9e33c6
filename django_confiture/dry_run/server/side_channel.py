"""SQL of our own on the connection that is being recorded, past the recorder.

``PGconn`` is below psycopg's cursors, so what runs here is neither recorded nor counted.
"""

from __future__ import annotations

from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

import psycopg
from psycopg import errors, pq, sql

from django_confiture.dry_run.server.driver import psycopg_connection, results_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

Row = tuple[str | None, ...]

_ON_PURPOSE = "django-confiture keeps the transaction in its failed state on purpose"
_FINE = {pq.ExecStatus.COMMAND_OK, pq.ExecStatus.TUPLES_OK, pq.ExecStatus.EMPTY_QUERY}


class Session:
    """Runs statements out of band; rows come back as text, as the server sends them."""

    def __init__(self, conn: psycopg.BaseConnection[Any]) -> None:
        """``conn`` is psycopg's connection, or a tracer's or a pool's proxy of it."""
        self.raw = psycopg_connection(conn)
        self._pgconn = self.raw.pgconn

    def query(self, text: str, params: Sequence[str | int | None] = ()) -> list[Row]:
        """Run one statement with ``$1`` parameters; raises the driver's error."""
        values = [None if value is None else str(value).encode() for value in params]
        return _rows_of_result(self._answers(text.encode(), values)[-1])

    def script(self, text: str) -> list[list[Row]]:
        """Run several statements in one round trip; return the rows of each."""
        return [_rows_of_result(result) for result in self._answers(text.encode(), [])]

    def counts(self, text: str) -> list[int | None]:
        """Run several statements in one round trip; return how many rows each wrote."""
        return [result.command_tuples for result in self._answers(text.encode(), [])]

    def _answers(self, text: bytes, values: list[bytes | None]) -> list[pq.abc.PGresult]:
        """Send and wait as the driver does, so that Ctrl-C cancels what runs."""
        pgconn = self._pgconn
        if values:
            pgconn.send_query_params(text, values)
        else:
            pgconn.send_query(text)
        results = results_of(self.raw, pgconn)
        for result in results:
            if result.status not in _FINE:
                error = errors.error_from_result(result)
                if error.sqlstate is None:  # not of the server: the connection is gone
                    raise errors.OperationalError(str(error))
                raise error
        return results

    def columns_of_cursor(self, name: str) -> list[tuple[str, str]]:
        """Return the columns of an open cursor: (name, type as SQL)."""
        self._pgconn.send_describe_portal(name.encode())
        portal = results_of(self.raw, self._pgconn)[-1]
        types = [
            self.value("SELECT format_type($1, $2)", [portal.ftype(each), portal.fmod(each)])
            for each in range(portal.nfields)
        ]
        names = [_decoded(portal.fname(each)) or "" for each in range(portal.nfields)]
        return list(zip(names, types, strict=True))

    def value(self, text: str, params: Sequence[str | int | None] = ()) -> str:
        """Return the one value of a one-row query as text, ``""`` for NULL."""
        return self.query(text, params)[0][0] or ""

    @contextmanager
    def undone(self, savepoint: str = "confiture_undone") -> Iterator[None]:
        """Undo what happens inside, and free its locks; a statement that fails does no harm.

        It is done in a transaction, or behind a savepoint of the one that is open.
        """
        begin, ends = self._undoing(savepoint)
        self.query(begin)
        try:
            yield
        finally:
            self.query("; ".join(ends))

    def script_undone(self, text: str, savepoint: str = "confiture_undone") -> list[list[Row]]:
        """Run several statements and undo them, in one round trip; return the rows of each.

        Raises the driver's error of one that fails, which does no harm.
        """
        begin, ends = self._undoing(savepoint)
        try:
            # The last one may end with a comment.
            answers = self.script(f"{begin}; {text}\n; {'; '.join(ends)}")
        except psycopg.Error:
            if self.status == pq.TransactionStatus.INERROR:
                self.query("; ".join(ends))
            raise
        return answers[1 : -len(ends)]

    def _undoing(self, savepoint: str) -> tuple[str, Sequence[str]]:
        """Return what begins and what ends a part that is undone."""
        if self.status == pq.TransactionStatus.IDLE:
            return "BEGIN", ["ROLLBACK"]
        ends = [f"ROLLBACK TO SAVEPOINT {savepoint}", f"RELEASE SAVEPOINT {savepoint}"]
        return f"SAVEPOINT {savepoint}", ends

    def attempt(self, text: str, params: Sequence[str | int | None] = ()) -> bool:
        """Run a statement that may fail; return whether it did not.

        In a transaction a failure is as if it had not run; that the connection is lost is raised.
        """
        inside = self.status != pq.TransactionStatus.IDLE
        if inside:
            self.query("SAVEPOINT confiture_attempt")
        try:
            self.query(text, params)
            succeeded = True
        except psycopg.Error:
            if self.status == pq.TransactionStatus.UNKNOWN:
                raise
            succeeded = False
        if inside:
            if not succeeded:
                self.query("ROLLBACK TO SAVEPOINT confiture_attempt")
            self.query("RELEASE SAVEPOINT confiture_attempt")
        return succeeded

    def abort(self) -> None:
        """Put the transaction into the failed state, as any error does.

        The server's log shows the error, so its message says where it comes from.
        """
        with suppress(errors.InvalidTextRepresentation):
            self.query(f"SELECT '{_ON_PURPOSE}'::integer")

    @property
    def status(self) -> pq.TransactionStatus:
        """The transaction's status as libpq knows it."""
        return pq.TransactionStatus(self._pgconn.transaction_status)

    @property
    def in_pipeline(self) -> bool:
        """Whether psycopg is in pipeline mode, where nothing else can be sent."""
        return self._pgconn.pipeline_status != pq.PipelineStatus.OFF


def array(values: Iterable[object]) -> str:
    """Return an array of numbers, truth values or texts as the parameter of a query."""
    escaped = (str(each).replace("\\", "\\\\").replace('"', '\\"') for each in values)
    return "{" + ",".join(f'"{each}"' for each in escaped) + "}"


def text_of(query: Any, raw: psycopg.BaseConnection[Any]) -> str:
    """Return the text of whatever the driver takes for a query."""
    if isinstance(query, sql.Composable):
        query = query.as_string(raw)
    if isinstance(query, bytes):
        query = query.decode(raw.info.encoding)
    return str(query)


def _rows_of_result(result: pq.abc.PGresult) -> list[Row]:
    columns = range(result.nfields)
    return [
        tuple([_decoded(result.get_value(row, column)) for column in columns])
        for row in range(result.ntuples)
    ]


def _decoded(value: bytes | None) -> str | None:
    return None if value is None else value.decode("utf-8", "replace")
