"""Where statements are caught: psycopg's cursor methods, wrapped while a dry run is on.

They are wrapped at class level, filtered by connection, and restored on every exit path: nothing
less sees the ORM's ``iterator()``, a raw ``conn.execute()``, and cursors that were opened before.
Scripts are sent one statement at a time, and what can't be sent in our transaction is exchanged.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import psycopg
from psycopg.pq import TransactionStatus

from django_confiture.dry_run.interception.protocols import SendPolicy, StatementSink
from django_confiture.dry_run.server.side_channel import Session, text_of
from django_confiture.dry_run.sql.parser import Kind, Statement, parse
from django_confiture.dry_run.sql.unsafe_functions import why_not_sent


class Capture:
    """Passes every statement of one connection through its recorder."""

    def __init__(
        self,
        raw: psycopg.Connection[Any],
        recorder: StatementSink,
        sending: SendPolicy,
        sample: Callable[[Statement, str], None] | None = None,
        classify: Callable[[Statement], Statement] = lambda statement: statement,
    ) -> None:
        """Take as ``sample`` who wants to see each statement as it is sent, before it is.

        ``classify`` gives a statement the kind that its text alone does not tell.
        """
        self._raw = raw
        self._sample = sample
        self._classify = classify
        self._recorder = recorder
        self._sending = sending

    # The measuring point.

    @contextmanager
    def installed(self) -> Iterator[None]:
        """Wrap psycopg's cursor methods; whatever happens, they are put back."""
        patches = [
            (owner, name, self._wrapped)
            for owner, name in (
                (psycopg.Cursor, "execute"),
                (psycopg.Cursor, "executemany"),
                (psycopg.Cursor, "stream"),
                (psycopg.Cursor, "copy"),
                (psycopg.ServerCursor, "execute"),
            )
        ]
        closing = (psycopg.ServerCursor, "close", self._closing)
        with ExitStack() as stack:
            for owner, name, wrap in (*patches, closing, *self._sending.patches()):
                original = owner.__dict__[name]
                stack.callback(setattr, owner, name, original)
                setattr(owner, name, wrap(name, original))
            yield

    def _wrapped(self, name: str, original: Callable[..., Any]) -> Callable[..., Any]:
        handles: dict[str, Callable[..., Any]] = {
            "execute": self._execute,
            "executemany": self._executemany,
            "stream": self._stream,
            "copy": self._copy,
        }
        handle = handles[name]

        @functools.wraps(original)
        def wrapper(cursor: psycopg.Cursor[Any], query: Any, *args: Any, **kwargs: Any) -> Any:
            if cursor.connection is not self._raw:
                return original(cursor, query, *args, **kwargs)
            self._sending.check()
            return handle(functools.partial(original, cursor), cursor, query, *args, **kwargs)

        return wrapper

    def _closing(self, _name: str, original: Callable[..., Any]) -> Callable[..., Any]:
        """Send no CLOSE after the end of the transaction that the real run would have ended.

        A loop over ``iterator()`` that an error ends leaves its cursor to the garbage collector,
        which finds it once the savepoint that stands for the transaction was rolled back.
        """

        @functools.wraps(original)
        def wrapper(cursor: psycopg.ServerCursor[Any]) -> None:
            if cursor.connection is self._raw and not cursor.closed and self._recorder.autocommit:
                session = Session(self._raw)
                sql = "SELECT FROM pg_cursors WHERE name = $1"
                if session.status == TransactionStatus.INTRANS and not session.query(
                    sql, [cursor.name]
                ):
                    psycopg.Cursor.close(cursor)
                    return
            original(cursor)

        return wrapper

    def _executemany(
        self,
        original: Callable[..., Any],
        cursor: Any,
        query: Any,
        params_seq: Iterable[Any],
        **kwargs: Any,
    ) -> None:
        statement = self._first(query, placeholders=True)
        if statement.kind is Kind.TRANSACTION:
            for params in params_seq:
                cursor.execute(query, params)
            return
        with self._recorder.measured(statement, cursor):
            original(query, params_seq, **kwargs)

    def _stream(
        self, original: Callable[..., Any], cursor: Any, query: Any, *args: Any, **kwargs: Any
    ) -> Iterator[Any]:
        statement = self._first(query, placeholders=bool(args))
        if statement.kind is Kind.TRANSACTION:
            cursor.execute(query, *args)
            return
        with self._recorder.measured(statement, cursor):
            yield from original(query, *args, **kwargs)

    @contextmanager
    def _copy(
        self, original: Callable[..., Any], cursor: Any, query: Any, *args: Any, **kwargs: Any
    ) -> Iterator[Any]:
        statements = self._parsed(query, placeholders=bool(args))
        if len(statements) > 1 or any(each.kind is Kind.TRANSACTION for each in statements):
            raise psycopg.ProgrammingError("COPY cannot be mixed with other operations")
        statement = self._first(query, placeholders=bool(args))
        with self._recorder.measured(statement, cursor), original(query, *args, **kwargs) as copy:
            yield copy

    def _execute(
        self,
        original: Callable[..., Any],
        cursor: Any,
        query: Any,
        params: Any = None,
        **kwargs: Any,
    ) -> Any:
        statements = self._parsed(query, placeholders=params is not None)
        if len(statements) > 1 and self._takes_one_statement(cursor, params):
            with self._recorder.measured(Statement(str(query), Kind.UNPARSED), cursor):
                return original(query, params, **kwargs)  # which the server refuses
        script = [self._sendable(s, alone=len(statements) == 1) for s in statements]
        if len(script) == 1 and script[0] == statements[0].sql.strip():
            script[0] = query  # untouched: the very object that was given
        if not script:
            return original(query, params, **kwargs)
        with self._sending.script(cursor, statements):
            return self._run_script(original, cursor, statements, script, params, kwargs)

    def _run_script(
        self,
        original: Callable[..., Any],
        cursor: Any,
        statements: Sequence[Statement],
        script: Sequence[Any],
        params: Any,
        kwargs: dict[str, Any],
    ) -> Any:
        """Send the statements one by one and leave the cursor with all their results."""
        used = 0
        results: list[Any] = []
        for statement, sent in zip(statements, script, strict=True):
            own = params
            if len(statements) > 1 and isinstance(params, Sequence):
                own = params[used : used + statement.parameters]
                used += statement.parameters
            self._sending.before(statement)
            if self._sample is not None and sent is not None:
                self._sample(statement, self._merged(sent, own))
            plain = sent is not None and sent == statement.plain_sql
            with self._recorder.measured(statement, cursor, skipped=sent is None, plain=plain):
                if plain:
                    self._sending.exchange(statement)
                original("" if sent is None else sent, None if sent is None else own, **kwargs)
            results.extend(cursor._results)
        if len(statements) > 1:
            cursor._results = results
            cursor._select_current_result(0)
        return cursor

    def _merged(self, query: Any, params: Any) -> str:
        """Return a statement with its parameters in it."""
        if params is not None:
            return psycopg.ClientCursor(self._raw).mogrify(query, params)
        return text_of(query, self._raw)

    def _sendable(self, statement: Statement, *, alone: bool) -> str | None:
        if why := why_not_sent(statement):
            self._recorder.note_not_rehearsed(why)
            return None
        return self._sending.text(statement, alone=alone)

    def _first(self, query: Any, *, placeholders: bool) -> Statement:
        statements = self._parsed(query, placeholders=placeholders)
        for why in filter(None, map(why_not_sent, statements)):
            self._recorder.note_not_rehearsed(why)
            raise psycopg.NotSupportedError(why)
        return statements[0] if statements else Statement("", Kind.QUIET)

    def _parsed(self, query: Any, *, placeholders: bool) -> tuple[Statement, ...]:
        parsed = parse(text_of(query, self._raw), placeholders=placeholders)
        return tuple(map(self._classify, parsed))

    def _takes_one_statement(self, cursor: Any, params: Any) -> bool:
        if Session(self._raw).in_pipeline:
            return True
        return params is not None and not isinstance(cursor, psycopg.ClientCursor)
