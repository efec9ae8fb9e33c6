"""The one measuring point: every statement that passes through psycopg on one connection.

psycopg's cursor methods are wrapped at class level while a dry run is on, filtered by connection,
and restored on every exit path: nothing less sees the ORM's ``iterator()``, a raw
``conn.execute()``, and cursors that were opened before.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from time import perf_counter
from typing import TYPE_CHECKING, Any

import psycopg
from psycopg import sql as psycopg_sql
from psycopg.pq import TransactionStatus

from django_confiture.dry_run.catalog import Catalog, Probe
from django_confiture.dry_run.measure import Effects, effects, merge
from django_confiture.dry_run.results import StatementResult
from django_confiture.dry_run.statements import Kind, Statement, parse
from django_confiture.dry_run.timeline import LockTimeline

if TYPE_CHECKING:
    from django.db.backends.base.base import BaseDatabaseWrapper

    from django_confiture.dry_run.transactions import RehearsedTransactions

_PROBED_REPEATS = 3
"""After so many runs of one DML text in an operation, the rest is measured at its end."""

_AUTOCOMMIT = "confiture_autocommit"

_ENDS_TRANSACTION = (
    "{} was rehearsed with savepoints, as it would end the dry run's transaction. "
    "For real it takes effect there, and the migration is no longer atomic."
)


@dataclass
class Entry:
    """One statement of an operation; equal DML texts are one entry with a count."""

    statement: Statement
    executions: int = 0
    duration_ms: float = 0.0
    rows: int | None = None
    effects: list[Effects] = field(default_factory=list)
    unprobed: bool = False
    note: str = ""


@dataclass
class Section:
    """What is recorded together: an operation, or the hooks of a phase."""

    entries: list[Entry] = field(default_factory=list)
    substituted: list[str] = field(default_factory=list)
    not_rehearsed: list[str] = field(default_factory=list)
    by_text: dict[str, Entry] = field(default_factory=dict)
    duration_ms: float = 0.0


@dataclass(frozen=True)
class StatementFailure:
    """A statement that PostgreSQL refused."""

    sql: str
    error: Exception


class Recorder:
    """Records the statements of one connection, section by section."""

    def __init__(
        self,
        wrapper: BaseDatabaseWrapper,
        transactions: RehearsedTransactions,
        predict: Callable[[Statement], Sequence[tuple[int, str]]],
    ) -> None:
        self._wrapper = wrapper
        self._raw: psycopg.Connection[Any] = wrapper.connection
        self._transactions = transactions
        self._session = transactions.session
        self._predict = predict
        self.catalog = Catalog(self._session)
        self._last = self.catalog.at_start()
        self._unseen = False
        self._busy = False
        self.section = Section()
        self.timeline = LockTimeline(self.catalog)
        self.failures: list[StatementFailure] = []
        self.callbacks = 0
        self.commit_ms = 0.0

    # Told by the rehearsed transactions.

    def transaction_ended(self, checked_ms: float = 0.0) -> None:
        """Free the locks that the real run would free now."""
        self.commit_ms += checked_ms
        self.timeline.release()

    def callbacks_dropped(self, count: int) -> None:
        """Count ``on_commit`` callbacks that were not called."""
        self.callbacks += count

    # Sections.

    @contextmanager
    def inside(self, section: Section) -> Iterator[None]:
        """Record into ``section``; its time is not counted for the section around it."""
        self.settle()
        outer, self.section = self.section, section
        started = perf_counter()
        try:
            yield
        finally:
            self.settle()
            elapsed = (perf_counter() - started) * 1000
            section.duration_ms += elapsed
            outer.duration_ms -= elapsed
            self.section = outer

    def settle(self) -> None:
        """Attribute what was not probed one by one to the statement that it belongs to."""
        if not self._unseen or self._session.status != TransactionStatus.INTRANS:
            return
        rest = self._probe(objects=True)
        unprobed = [entry for entry in self.section.entries if entry.unprobed]
        if unprobed:
            unprobed[-1].effects.append(rest)
            unprobed[-1].unprobed = False
            self._note_locks(rest, unprobed[-1].statement.sql, perf_counter())

    def results(self, section: Section) -> tuple[StatementResult, ...]:
        """Return the statements of a section, savepoints left out."""
        return tuple(
            self._result(entry)
            for entry in section.entries
            if entry.statement.kind is not Kind.SAVEPOINT
        )

    def _result(self, entry: Entry) -> StatementResult:
        catalog = self.catalog
        all_effects = entry.effects
        wal = [e.wal_bytes for e in all_effects if e.wal_bytes is not None]
        return StatementResult(
            sql=entry.statement.sql,
            executions=entry.executions,
            duration_ms=entry.duration_ms,
            rows_affected=entry.rows,
            wal_bytes=sum(wal) if wal else None,
            locks=_unique(lock for e in all_effects for lock in e.table_locks(catalog)),
            rewrites=_unique(
                catalog.relations[oid].shown for e in all_effects for oid in e.rewrites
            ),
            scans=tuple(scan for e in all_effects for scan in e.named_scans(catalog)),
            writes=tuple(write for e in all_effects for write in e.named_writes(catalog)),
            indexes_built=_unique(name for e in all_effects for name in e.indexes_built),
            constraints=_unique(name for e in all_effects for name in e.constraints),
            note=entry.note,
        )

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
        handle = self._execute if name == "execute" else self._other
        if name == "stream":
            handle = self._stream
        elif name == "copy":
            handle = self._copy

        @functools.wraps(original)
        def wrapper(cursor: psycopg.Cursor[Any], query: Any, *args: Any, **kwargs: Any) -> Any:
            if cursor.connection is not self._raw or self._busy:
                return original(cursor, query, *args, **kwargs)
            return handle(functools.partial(original, cursor), cursor, query, *args, **kwargs)

        return wrapper

    def _ending(self, name: str, original: Callable[..., Any]) -> Callable[..., Any]:
        """Wrap ``commit`` and ``rollback`` of the driver's connection."""

        @functools.wraps(original)
        def wrapper(conn: psycopg.Connection[Any]) -> None:
            if conn is not self._raw or self._busy:
                original(conn)
                return
            self.section.substituted.append(_ENDS_TRANSACTION.format(f"{name}() of the driver"))
            self._transactions.end_inner(commit=name == "commit")

        return wrapper

    def _other(
        self, original: Callable[..., Any], cursor: Any, query: Any, *args: Any, **kwargs: Any
    ) -> Any:
        (statement,) = self._parsed(query, placeholders=True)[:1] or [Statement("", Kind.QUIET)]
        with self._measured(statement, cursor):
            return original(query, *args, **kwargs)

    def _stream(
        self, original: Callable[..., Any], cursor: Any, query: Any, *args: Any, **kwargs: Any
    ) -> Iterator[Any]:
        (statement,) = self._parsed(query, placeholders=bool(args))[:1] or [
            Statement("", Kind.QUIET)
        ]
        with self._measured(statement, cursor):
            yield from original(query, *args, **kwargs)

    @contextmanager
    def _copy(
        self, original: Callable[..., Any], cursor: Any, query: Any, *args: Any, **kwargs: Any
    ) -> Iterator[Any]:
        (statement,) = self._parsed(query, placeholders=bool(args))[:1] or [
            Statement("", Kind.QUIET)
        ]
        with self._measured(statement, cursor), original(query, *args, **kwargs) as copy:
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
        script = [self._rehearsable(s, alone=len(statements) == 1) for s in statements]
        if len(script) == 1 and script[0] == statements[0].sql.strip():
            script[0] = query  # untouched: the very object that was given
        if statements and statements[0].kind is Kind.UNPARSED:
            kwargs["prepare"] = True  # the extended protocol takes one statement only
        if not script:
            return original(query, params, **kwargs)
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
                self._end_transaction(statement)
            plain = sent is not None and sent == statement.plain_sql
            with self._measured(statement, cursor, skipped=sent is None, plain=plain):
                original("" if sent is None else sent, None if sent is None else own, **kwargs)
            results.extend(cursor._results)
        if len(statements) > 1:
            cursor._results = results
            cursor._select_current_result(0)
        return cursor

    def _parsed(self, query: Any, *, placeholders: bool) -> tuple[Statement, ...]:
        if isinstance(query, psycopg_sql.Composable):
            query = query.as_string(self._raw)
        if isinstance(query, bytes):
            query = query.decode(self._raw.info.encoding)
        return parse(str(query), placeholders=placeholders)

    # What can't be sent as it is.

    @property
    def _autocommit(self) -> bool:
        """Say whether the real run would send this statement outside a transaction."""
        return bool(self._wrapper.autocommit) and not self._wrapper.in_atomic_block

    def _rehearsable(self, statement: Statement, *, alone: bool) -> str | None:
        """Return the text to send in place of ``statement``, None where nothing can be sent."""
        if statement.kind is Kind.TRANSACTION:
            if statement.commits or statement.rolls_back:
                self.section.substituted.append(
                    _ENDS_TRANSACTION.format(f"{_first_word(statement)} in SQL")
                )
            return None
        if not statement.outside_transaction or not (alone and self._autocommit):
            return statement.sql
        if statement.plain_sql is not None:
            self.section.substituted.append(
                "CONCURRENTLY can't run inside a transaction, so its plain form was measured."
            )
            return statement.plain_sql
        self.section.not_rehearsed.append(
            f"{_first_word(statement)} can't run inside a transaction."
        )
        return None

    def _end_transaction(self, statement: Statement) -> None:
        """Do with savepoints what a COMMIT or ROLLBACK in SQL would do."""
        if statement.commits or statement.rolls_back:
            self._transactions.end_inner(commit=statement.commits)

    @contextmanager
    def _measured(
        self,
        statement: Statement,
        cursor: Any,
        *,
        skipped: bool = False,
        plain: bool = False,
    ) -> Iterator[None]:
        """Measure what runs inside, between two probes where the statement deserves them."""
        entry = self._entry(statement)
        alone = self._opens_transaction_of_its_own(statement, skipped=skipped)
        probing = self._before(statement, entry, skipped=skipped)
        predicted = self._predicted(statement, entry) if probing else ()
        if alone:
            self._session.query(f"SAVEPOINT {_AUTOCOMMIT}")
        started = perf_counter()
        try:
            yield
        except psycopg.Error as error:
            entry.duration_ms += (perf_counter() - started) * 1000
            if not self._failed(statement, error, alone=alone):
                raise
            return
        entry.duration_ms += (perf_counter() - started) * 1000
        entry.executions += 1
        self._transactions.check_intact()
        if skipped:
            entry.note = "not sent"
            return
        _add_rows(entry, cursor)
        self._after(statement, entry, predicted, started, plain=plain)
        if alone:
            if statement.kind is not Kind.SELECT:
                self._transactions.check_constraints()
            self._session.query(f"RELEASE SAVEPOINT {_AUTOCOMMIT}")
            self.transaction_ended()

    def _predicted(self, statement: Statement, entry: Entry) -> Sequence[tuple[int, str]]:
        if statement.kind is Kind.DDL or (statement.kind is Kind.DML and not entry.executions):
            return self._predict(statement)
        return ()

    def _opens_transaction_of_its_own(self, statement: Statement, *, skipped: bool) -> bool:
        return (
            self._autocommit
            and not skipped
            and self._can_probe
            and statement.kind not in (Kind.SAVEPOINT, Kind.QUIET)
        )

    def _entry(self, statement: Statement) -> Entry:
        if statement.kind in (Kind.DDL, Kind.UNPARSED):
            entry = Entry(statement)
            self.section.entries.append(entry)
            return entry
        entry = self.section.by_text.get(statement.sql) or Entry(statement)
        if not entry.executions and statement.sql not in self.section.by_text:
            self.section.by_text[statement.sql] = entry
            self.section.entries.append(entry)
        return entry

    def _before(self, statement: Statement, entry: Entry, *, skipped: bool) -> bool:
        """Say whether to probe after the statement; first settle what was not probed so far."""
        if skipped or not self._can_probe:
            return False
        if statement.kind in (Kind.QUIET, Kind.SAVEPOINT):
            return False
        if statement.kind is Kind.SELECT:
            self._unseen = self._unseen or statement.reads_user_tables
            return False
        if statement.kind in (Kind.DML, Kind.OPAQUE) and entry.executions >= _PROBED_REPEATS:
            self._unseen = entry.unprobed = True
            return False
        if self._unseen:
            self.settle()
        elif statement.kind is Kind.DDL:
            self._last = Probe(self.catalog.wal(), self._last.relations)
        return True

    @property
    def _can_probe(self) -> bool:
        return self._session.status == TransactionStatus.INTRANS and not self._session.in_pipeline

    def _after(
        self,
        statement: Statement,
        entry: Entry,
        predicted: Sequence[tuple[int, str]],
        started: float,
        *,
        plain: bool,
    ) -> None:
        probed = statement.kind not in (Kind.QUIET, Kind.SAVEPOINT, Kind.SELECT)
        if not probed or entry.unprobed or not self._can_probe:
            return
        measured = self._probe(
            objects=statement.kind is not Kind.DML, statement=statement, predicted=predicted
        )
        if plain:
            measured = replace(measured, locks=self._of_real_form(predicted))
        entry.effects.append(measured)
        self._note_locks(measured, statement.sql, started)

    def _of_real_form(self, predicted: Sequence[tuple[int, str]]) -> tuple[Any, ...]:
        """Return the locks of the statement as written, where its plain form was run."""
        known = self.catalog.relations
        return tuple((oid, mode, False) for oid, mode in predicted if oid in known)

    def _probe(
        self,
        *,
        objects: bool,
        statement: Statement | None = None,
        predicted: Sequence[tuple[int, str]] = (),
    ) -> Effects:
        now = merge(self._last, self.catalog.probe(objects=objects))
        measured = effects(self.catalog, self._last, now, statement, predicted)
        self._last = Probe(self.catalog.wal(), now.relations)
        self._unseen = False
        return measured

    def _note_locks(self, measured: Effects, sql: str, started: float) -> None:
        for oid, mode, _inherited in measured.locks:
            self.timeline.take(oid, mode, started, sql)

    def _failed(self, statement: Statement, error: psycopg.Error, *, alone: bool) -> bool:
        """Note an error; return True where the dry run has to go on without the statement."""
        if alone and self._session.status == TransactionStatus.INERROR:
            # For real only the statement would be undone: it had a transaction of its own.
            self._session.query(f"ROLLBACK TO SAVEPOINT {_AUTOCOMMIT}")
            self._session.query(f"RELEASE SAVEPOINT {_AUTOCOMMIT}")
        if alone and isinstance(error, psycopg.errors.InvalidTransactionTermination):
            self.section.not_rehearsed.append(
                f"{_first_word(statement)} ran code that commits by itself; "
                "only a copy of the database can show what it does."
            )
            return True
        self.failures.append(StatementFailure(statement.sql, error))
        return False


def _add_rows(entry: Entry, cursor: Any) -> None:
    if entry.statement.kind in (Kind.DML, Kind.UNPARSED) and cursor.rowcount >= 0:
        entry.rows = (entry.rows or 0) + cursor.rowcount


def _first_word(statement: Statement) -> str:
    words = statement.sql.split()
    return words[0].upper() if words else ""


def _unique(items: Any) -> tuple[Any, ...]:
    return tuple(dict.fromkeys(items))
