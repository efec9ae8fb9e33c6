"""Where statements are caught: psycopg's cursor methods, wrapped while a dry run is on.

They are wrapped at class level, filtered by connection, and restored on every exit path: nothing
less sees the ORM's ``iterator()``, a raw ``conn.execute()``, and cursors that were opened before.
Scripts are sent one statement at a time, and what can't be sent in our transaction is exchanged.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import Any, Protocol

import psycopg
from psycopg import sql as psycopg_sql

from django_confiture.dry_run.recorder import Section
from django_confiture.dry_run.statements import Kind, Statement, parse
from django_confiture.dry_run.transactions import RehearsedTransactions

_ENDS_TRANSACTION = (
    "{} was rehearsed with savepoints, as it would end the dry run's transaction. "
    "For real it takes effect there, and the migration is no longer atomic."
)


class Measures(Protocol):
    """What is told of each statement: the recorder, or what stands in for it."""

    section: Section

    @property
    def autocommit(self) -> bool:
        """Whether the real run would send a statement outside a transaction."""

    def measured(
        self, statement: Statement, cursor: Any, *, skipped: bool = False, plain: bool = False
    ) -> AbstractContextManager[None]:
        """Measure what runs inside."""


class Capture:
    """Passes every statement of one connection through its recorder."""

    def __init__(
        self,
        raw: psycopg.Connection[Any],
        recorder: Measures,
        transactions: RehearsedTransactions,
    ) -> None:
        self._raw = raw
        self._recorder = recorder
        self._transactions = transactions

    # The measuring point.

    @contextmanager
    def installed(self) -> Iterator[None]:
        """Wrap psycopg's cursor methods; whatever happens, they are put back."""
        originals = [
            (owner, name, owner.__dict__[name])
            for owner, name in (
                (psycopg.Cursor, "execute"),
                (psycopg.Cursor, "executemany"),
                (psycopg.Cursor, "stream"),
                (psycopg.Cursor, "copy"),
                (psycopg.ServerCursor, "execute"),
                (psycopg.Connection, "commit"),
                (psycopg.Connection, "rollback"),
            )
        ]
        try:
            for owner, name, original in originals:
                wrapped = self._ending if owner is psycopg.Connection else self._wrapped
                setattr(owner, name, wrapped(name, original))
            yield
        finally:
            for owner, name, original in originals:
                setattr(owner, name, original)

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
            self._transactions.check_not_ended()
            return handle(functools.partial(original, cursor), cursor, query, *args, **kwargs)

        return wrapper

    def _ending(self, name: str, original: Callable[..., Any]) -> Callable[..., Any]:
        """Wrap ``commit`` and ``rollback`` of the driver's connection."""

        @functools.wraps(original)
        def wrapper(conn: psycopg.Connection[Any]) -> None:
            if conn is not self._raw:
                original(conn)
                return
            self._recorder.section.substituted.append(
                _ENDS_TRANSACTION.format(f"{name}() of the driver")
            )
            self._transactions.end_inner(commit=name == "commit")

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
        script = [self._rehearsable(s, alone=len(statements) == 1) for s in statements]
        if len(script) == 1 and script[0] == statements[0].sql.strip():
            script[0] = query  # untouched: the very object that was given
        if not script:
            return original(query, params, **kwargs)
        with ExitStack() as stack:
            if any(statement.kind is Kind.UNPARSED for statement in statements):
                stack.enter_context(_one_statement_only(cursor))
            if len(statements) > 1 and self._recorder.autocommit:
                stack.enter_context(self._transactions.implicit())
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
            if statement.kind is Kind.TRANSACTION:
                self._control_transaction(statement)
            if statement.sets_locally:
                self._transactions.remember(statement.sets_locally)
            plain = sent is not None and sent == statement.plain_sql
            with self._recorder.measured(statement, cursor, skipped=sent is None, plain=plain):
                original("" if sent is None else sent, None if sent is None else own, **kwargs)
            results.extend(cursor._results)
        if len(statements) > 1:
            cursor._results = results
            cursor._select_current_result(0)
        return cursor

    def _first(self, query: Any, *, placeholders: bool) -> Statement:
        statements = self._parsed(query, placeholders=placeholders)
        return statements[0] if statements else Statement("", Kind.QUIET)

    def _parsed(self, query: Any, *, placeholders: bool) -> tuple[Statement, ...]:
        if isinstance(query, psycopg_sql.Composable):
            query = query.as_string(self._raw)
        if isinstance(query, bytes):
            query = query.decode(self._raw.info.encoding)
        return parse(str(query), placeholders=placeholders)

    def _takes_one_statement(self, cursor: Any, params: Any) -> bool:
        if self._transactions.session.in_pipeline:
            return True
        return params is not None and not isinstance(cursor, psycopg.ClientCursor)

    # What can't be sent as it is.

    def _rehearsable(self, statement: Statement, *, alone: bool) -> str | None:
        """Return the text to send in place of ``statement``, None where nothing can be sent."""
        if statement.kind is Kind.TRANSACTION:
            if statement.commits or statement.rolls_back:
                self._recorder.section.substituted.append(
                    _ENDS_TRANSACTION.format(f"{statement.command} in SQL")
                )
            return None
        if not (alone and self._recorder.autocommit):
            return statement.sql
        if statement.sets_locally:
            return None  # outside a transaction it changes nothing
        if not statement.outside_transaction:
            return statement.sql
        if statement.plain_sql is not None:
            self._recorder.section.substituted.append(
                "CONCURRENTLY can't run inside a transaction, so its plain form was measured."
            )
            return statement.plain_sql
        self._recorder.section.not_rehearsed.append(
            f"{statement.command} can't run inside a transaction."
        )
        return None

    def _control_transaction(self, statement: Statement) -> None:
        """Do with savepoints what BEGIN, COMMIT or ROLLBACK in SQL would do."""
        if self._transactions.session.in_pipeline:
            self._recorder.section.not_rehearsed.append(
                f"{statement.command} in a pipeline was left out."
            )
        elif statement.begins:
            self._transactions.begin_inner()
        elif statement.commits or statement.rolls_back:
            self._transactions.end_inner(commit=statement.commits)


@contextmanager
def _one_statement_only(cursor: Any) -> Iterator[None]:
    """Send by the extended protocol, which takes one statement: no COMMIT can hide in the text."""
    cursor._execute_send = functools.partial(cursor._execute_send, force_extended=True)
    try:
        yield
    finally:
        del cursor._execute_send
