"""Handles each statement of one connection, whichever method of a cursor sent it.

Scripts are sent one statement at a time, with a substitute for what our transaction can't hold.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import psycopg
from psycopg.pq import TransactionStatus

from django_confiture.dry_run.interception.protocols import (
    DriverGenerator,
    SendPolicy,
    StatementSink,
)
from django_confiture.dry_run.server.driver import cursor_results, set_cursor_results
from django_confiture.dry_run.server.side_channel import Session, text_of
from django_confiture.dry_run.sql.parsing.parser import Kind, Statement, parse
from django_confiture.dry_run.sql.rows.unsafe_functions import why_not_sent


class Capture:
    """Passes every statement of one connection through its policy and to its sink."""

    def __init__(
        self,
        raw: psycopg.Connection[Any],
        sink: StatementSink,
        policy: SendPolicy,
        classify: Callable[[Statement], Statement] = lambda statement: statement,
    ) -> None:
        """``classify`` returns a statement with the kind that its text alone does not tell."""
        self._raw = raw
        self._classify = classify
        self._sink = sink
        self._policy = policy

    # Called by the interceptor; what it would have called is ``send``.

    def sending(
        self, method: str, send: Callable[..., Any], cursor: Any, *args: Any, **kwargs: Any
    ) -> Any:
        """Catch what a method of a cursor is given."""
        handlers: dict[str, Callable[..., Any]] = {
            "execute": self._execute,
            "executemany": self._executemany,
            "stream": self._stream,
            "copy": self._copy,
        }
        with self._sink.own_work():
            self._policy.check()
            return handlers[method](send, cursor, *args, **kwargs)

    def ending(self, method: str, end: Callable[[], None]) -> None:
        """Catch the driver's ``commit()`` or ``rollback()``."""
        self._policy.end(method, end)

    def commanding(self, send: Callable[[], DriverGenerator], command: Any) -> DriverGenerator:
        """Catch what the driver sends by itself, past its cursors."""
        return self._policy.command(send, text_of(command, self._raw))

    def checking(self, check: Callable[[], DriverGenerator], attribute: str) -> DriverGenerator:
        """Catch what the driver checks before it sets ``autocommit`` and its like."""
        return self._policy.attribute(check, attribute)

    def showing(self, status: TransactionStatus) -> TransactionStatus:
        """Return what the driver is to say of the transaction, whose real status this is."""
        return self._policy.status(status)

    def has_closed(self, cursor: psycopg.ServerCursor[Any]) -> bool:
        """Return whether the end of a transaction has closed a cursor, so that CLOSE would fail.

        A loop over ``iterator()`` that an error ends leaves its cursor to the garbage collector,
        which finds it once the savepoint that stands for the transaction was rolled back.
        """
        session = Session(self._raw)
        if cursor.closed or not self._sink.autocommit:
            return False
        return session.status == TransactionStatus.INTRANS and not session.query(
            "SELECT FROM pg_catalog.pg_cursors WHERE name = $1", [cursor.name]
        )

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
        self._before(statement, query, None)
        with self._sink.measured(statement, cursor):
            original(query, params_seq, **kwargs)

    def _stream(
        self, original: Callable[..., Any], cursor: Any, query: Any, *args: Any, **kwargs: Any
    ) -> Iterator[Any]:
        statement = self._first(query, placeholders=bool(args))
        if statement.kind is Kind.TRANSACTION:
            cursor.execute(query, *args)
            return
        self._before(statement, query, args[0] if args else None)
        with self._sink.measured(statement, cursor):
            yield from original(query, *args, **kwargs)

    @contextmanager
    def _copy(
        self, original: Callable[..., Any], cursor: Any, query: Any, *args: Any, **kwargs: Any
    ) -> Iterator[Any]:
        statements = self._parsed(query, placeholders=bool(args))
        if len(statements) > 1 or any(each.kind is Kind.TRANSACTION for each in statements):
            raise psycopg.ProgrammingError("COPY cannot be mixed with other operations")
        statement = self._first(query, placeholders=bool(args))
        self._before(statement, query, args[0] if args else None)
        with self._sink.measured(statement, cursor), original(query, *args, **kwargs) as copy:
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
        if isinstance(cursor, psycopg.ServerCursor) and self._sink.autocommit:
            self._policy.check_cursor(cursor)
            statements = tuple(replace(each, cursor_of_driver=cursor.name) for each in statements)
        if len(statements) > 1 and self._takes_one_statement(cursor, params):
            with self._sink.measured(Statement(str(query), Kind.UNPARSED), cursor):
                return original(query, params, **kwargs)  # which the server refuses
        script = [self._sendable(s, alone=len(statements) == 1) for s in statements]
        if len(script) == 1 and script[0] == statements[0].sql.strip():
            script[0] = query  # untouched: the very object that was given
        if not script:
            return original(query, params, **kwargs)
        with self._policy.script(cursor, statements):
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
        for each, sent in zip(statements, script, strict=True):
            # One before it may have made the function that it calls.
            statement = self._classify(each) if len(statements) > 1 else each
            own = params
            if len(statements) > 1 and isinstance(params, Sequence):
                own = params[used : used + statement.parameters]
                used += statement.parameters
            self._before(statement, statement.sql, own)
            plain = sent is not None and sent == statement.plain_sql
            with self._sink.measured(
                statement,
                cursor,
                skipped=sent is None,
                plain=plain,
                text=functools.partial(self._merged, sent, own) if sent is not None else None,
            ):
                if plain:
                    self._policy.exchange(statement)
                original("" if sent is None else sent, None if sent is None else own, **kwargs)
            results.extend(cursor_results(cursor))
        if len(statements) > 1:
            set_cursor_results(cursor, results)
        return cursor

    def _before(self, statement: Statement, query: Any, params: Any) -> None:
        self._policy.prepare(statement, functools.partial(self._merged, query, params))

    def _merged(self, query: Any, params: Any) -> str:
        """Return a statement with its parameters in it."""
        if params is not None:
            return psycopg.ClientCursor(self._raw).mogrify(query, params)
        return text_of(query, self._raw)

    def _sendable(self, statement: Statement, *, alone: bool) -> str | None:
        if why := why_not_sent(statement):
            self._sink.note_not_rehearsed(why)
            return None
        return self._policy.text(statement, alone=alone)

    def _first(self, query: Any, *, placeholders: bool) -> Statement:
        statements = self._parsed(query, placeholders=placeholders)
        for why in filter(None, map(why_not_sent, statements)):
            self._sink.note_not_rehearsed(why)
            raise psycopg.NotSupportedError(why)
        return statements[0] if statements else Statement("", Kind.QUIET)

    def _parsed(self, query: Any, *, placeholders: bool) -> tuple[Statement, ...]:
        parsed = parse(text_of(query, self._raw), placeholders=placeholders)
        return parsed if len(parsed) > 1 else tuple(map(self._classify, parsed))

    def _takes_one_statement(self, cursor: Any, params: Any) -> bool:
        if Session(self._raw).in_pipeline:
            return True
        return params is not None and not isinstance(cursor, psycopg.ClientCursor)
