"""Run what a release's ORM sends on the connection of a dry run, and undo it.

The ORM reaches the server through a second connection object of Django's over the same psycopg
connection, so that what it keeps (savepoints, ``on_commit`` callbacks, a broken transaction) is
never that of the migration.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from datetime import timedelta
from functools import partial
from typing import Any

import psycopg
from django.apps.registry import Apps
from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper
from psycopg.pq import TransactionStatus

from django_confiture.dry_run.running_code.catalog.known_rows import KnownRows
from django_confiture.dry_run.running_code.failure import Failure
from django_confiture.dry_run.running_code.instances.values import NoValueError
from django_confiture.dry_run.running_code.sending.slow_statements import SlowStatements
from django_confiture.dry_run.running_code.sending.statements import (
    FirstStatement,
    Script,
    SentByORM,
)
from django_confiture.dry_run.running_code.sending.unsent_writes import UnsentWrites
from django_confiture.dry_run.running_code.sending.without_signals import without_signals
from django_confiture.dry_run.server.side_channel import Row, Session

_PROBES = "confiture_probes"
_PROBE = "confiture_probe"
_ROW = "confiture_row"
_KEPT = "confiture_kept"
_CHECK = "SET CONSTRAINTS ALL IMMEDIATE"
_UNDO = f"ROLLBACK TO SAVEPOINT {_PROBE}"
OPEN = (TransactionStatus.INTRANS, TransactionStatus.INERROR)
_LOCKED = "55P03"


class _NotSentError(Exception):
    """The first statement was asked for, and is not sent."""

    def __init__(self, statement: FirstStatement) -> None:
        super().__init__(statement.sql)
        self.statement = statement


class ProbeConnection:
    """One database as the ORM of a release sees it while the probes run."""

    def __init__(
        self, wrapper: BaseDatabaseWrapper, known: KnownRows, *, timeout: timedelta
    ) -> None:
        self._known = known
        self.alias = wrapper.alias
        self.session = Session(wrapper.connection)
        self.ops = wrapper.ops
        self._timeout_ms = round(timeout.total_seconds() * 1000)
        self._sent: list[str] = []
        self._sends = True
        self._script: list[str | SentByORM] | None = None
        self._row_failed = False
        """Whether a row for the script could not be made."""
        self._locked: Failure | None = None
        """What ended the first wait for a lock: nothing more is tried, as each would wait."""
        self._slow = SlowStatements()
        self._unsent = UnsentWrites(self.session, self._slow)
        self._own: Any = connections.create_connection(wrapper.alias)
        self._own.connection = wrapper.connection
        self._own.execute_wrappers.append(self._note)

    @contextmanager
    def probing(self, apps: Apps) -> Iterator[None]:
        """Let the ORM of ``apps`` work here; what it and the probes do inside is undone."""
        original = connections[self.alias]
        with ExitStack() as stack:
            stack.enter_context(self._rolled_back())
            self._locked = None
            self._slow.forget()
            self._known.forget()
            self._begin()
            connections[self.alias] = self._own
            stack.callback(connections.__setitem__, self.alias, original)
            stack.enter_context(without_signals(apps))
            self._reset()
            yield

    @contextmanager
    def _rolled_back(self) -> Iterator[None]:
        """Undo everything: in the transaction that is open, or on a clone in one of its own."""
        if self.session.status != TransactionStatus.IDLE:
            with self.session.undone(_PROBES):
                yield
            return
        self.session.query("BEGIN")
        try:
            yield
        finally:
            self.session.query("ROLLBACK")

    def attempt(self, action: Callable[[], object]) -> Failure | None:
        """Call ``action``, check the deferred constraints, undo it all; return why it failed."""
        if self._locked is not None:
            return self._locked
        self._sent.clear()
        try:
            action()
            self._unsent.send(_CHECK, _UNDO)
        except Exception as error:
            if self.session.status not in OPEN:
                raise
            self.session.query(_UNDO)
            failure = self._failure(error)
            if failure.sqlstate == _LOCKED:
                why = f"not tried, as the wait for another session timed out: {failure.error}"
                self._locked = replace(failure, error=why)
            return failure
        finally:
            self._known.undone()
            self._reset()
        return None

    def first_statement(self, action: Callable[[], object]) -> FirstStatement | None:
        """Return what ``action`` would send first; rows that it makes before stay until undone."""
        if self._locked is not None:
            return None
        self._sends = False
        try:
            action()
        except _NotSentError as found:
            return found.statement
        except Exception:
            if self.session.status not in OPEN:
                raise
        finally:
            self._sends = True
            self._reset()
        return None

    @contextmanager
    def keeping(self) -> Iterator[Callable[[], None]]:
        """Undo at the end of the block what was sent in it before the yielded function was called.

        What is tried after that call is undone as ever, and leaves the former as it is.
        """
        self.session.query(f"SAVEPOINT {_KEPT}")
        yield partial(self._send, f"SAVEPOINT {_PROBE}")
        self.session.query(f"ROLLBACK TO SAVEPOINT {_KEPT}; RELEASE SAVEPOINT {_KEPT}")

    def undo(self) -> None:
        """Undo all that was sent since the probes began."""
        self._known.undone()
        self._send(_UNDO)

    def _send(self, text: str) -> None:
        self.session.query(text)

    def recorded(self, action: Callable[[], object]) -> tuple[Failure | None, Script | None]:
        """Do something and undo it; return why it failed, and the script that does the same.

        There is no script where rows for it could only be made in a second way. That, and a
        server that was busy, are the reasons to try again: nothing else would be different.
        """
        self._script, self._row_failed = [], False
        try:
            failure, script = self.attempt(action), self._script
        finally:
            self._script = None
        if failure is not None and (self._row_failed or failure.gave_up):
            self._known.forget()
            return self.attempt(action), None
        return failure, script if failure is None else None

    def together(self, action: Callable[[], object], *, each_finds: bool) -> Script | None:
        """Do what sees no answer to its writes; return its script, None where it fails."""
        self._script, self._row_failed = [], False
        try:
            with self._unsent.gathered(each_finds=each_finds):
                failure, script = self.attempt(action), self._script
        finally:
            self._script = None
        if failure is not None and (self._row_failed or not failure.is_of_names):
            self._known.forget()
        return script if failure is None else None

    @staticmethod
    def one_script(scripts: Iterable[Script]) -> Script:
        """Return one script that runs several, each undone before the next one."""
        found: list[str | SentByORM] = []
        for script in scripts:
            found += [*([_CHECK, _UNDO] if found else []), *script]
        return found

    def passes(self, script: Script) -> bool:
        """Run a script, check the deferred constraints, and undo it; return whether it passed."""
        if self._locked is not None:
            return False
        try:
            self.session.query("; ".join([*map(self._text, script), _CHECK, _UNDO]))
        except psycopg.Error:
            if self.session.status not in OPEN:
                raise
            self.session.query(_UNDO)
            return False
        return True

    def _text(self, part: str | SentByORM) -> str:
        return part if isinstance(part, str) else self.composed(part.sql, part.params)

    def composed(self, sql: str, params: Any) -> str:
        """Return a statement with its values in it."""
        return str(self._own.ops.compose_sql(sql, params))

    def run(self, text: str) -> list[Row]:
        """Run a statement past the ORM; where it fails, it is as if it had not run."""
        self._unsent.send()
        if self._script is not None:
            self._script.append(text)
            try:
                with self._slow.watching(text):
                    return self.session.query(text)
            except psycopg.Error:
                self._row_failed = True
                raise
        answers = self.run_each([text])
        return answers[0] if answers else []

    def run_each(self, texts: Sequence[str]) -> list[list[Row]]:
        """Run statements past the ORM in one round trip; where one fails, as if none had run."""
        self._unsent.send()
        release = f"RELEASE SAVEPOINT {_ROW}"
        try:
            with self._slow.watching(*texts):
                return self.session.script("; ".join([f"SAVEPOINT {_ROW}", *texts, release]))[1:-1]
        except psycopg.Error as error:
            if self.session.status not in OPEN:
                raise
            self.session.query(f"ROLLBACK TO SAVEPOINT {_ROW}; {release}")
            if error.sqlstate == _LOCKED:
                raise  # which ends the attempt: the next statement would wait, too
            return []

    def _failure(self, error: Exception) -> Failure:
        if isinstance(error, NoValueError):
            return Failure(None, f"no value is known for {error}", "", lacks_value=True)
        cause = error if isinstance(error, psycopg.Error) else error.__cause__
        sql = self._sent[-1] if self._sent else ""
        if not isinstance(cause, psycopg.Error) or cause.sqlstate is None:  # the client refused
            return Failure(None, f"{type(error).__name__}: {error}", sql)
        diag = cause.diag
        message = diag.message_primary or str(cause)
        return Failure(cause.sqlstate, message, sql, diag.constraint_name, diag.column_name)

    def _begin(self) -> None:
        # The shorter one, so that a wait for a lock is told from a slow statement.
        lock_ms = max(1, self._timeout_ms // 2)
        self.session.query(
            f"SELECT pg_catalog.set_config('statement_timeout', '{self._timeout_ms}ms', true),"
            f" pg_catalog.set_config('lock_timeout', '{lock_ms}ms', true); SAVEPOINT {_PROBE}"
        )

    def _reset(self) -> None:
        """Forget what the ORM has noted: its transaction is undone."""
        own = self._own
        own.autocommit = False
        own.in_atomic_block = True
        own.needs_rollback = False
        own.savepoint_ids = []
        own.run_on_commit = []

    def _note(
        self,
        execute: Any,
        sql: str,
        params: Any,
        many: bool,  # noqa: FBT001 - Django's signature
        context: Any,
    ) -> Any:
        self._sent.append(sql)
        if not self._sends:
            raise _NotSentError(FirstStatement(sql, self.composed(sql, params)))
        kept = self.composed(sql, params) if self._unsent.takes(sql) else None
        if self._script is not None:
            self._script.append(kept or SentByORM(sql, params))
        if sql.startswith("DELETE"):
            self._known.deleted()
        if kept is not None:
            self._unsent.keep(kept, context["cursor"])
            return None
        self._unsent.send()
        with self._slow.watching(sql):
            return execute(sql, params, many, context)
