"""Records a real migration while it runs: statements that Django's cursors send, and hooks."""

from __future__ import annotations

import getpass
import socket
import sys
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import timedelta
from functools import cache
from time import perf_counter
from typing import TYPE_CHECKING, Any

from django.db.migrations.migration import Migration
from django.utils import timezone

from django_confiture.formatting import error_line
from django_confiture.history.models import (
    HookExecution,
    MigrationExecution,
    StatementExecution,
)
from django_confiture.history.normalized_sql import normalize
from django_confiture.history.recording_errors import warn
from django_confiture.migration_files import source_hash

if TYPE_CHECKING:
    from types import FrameType

    from django.db.backends.base.base import BaseDatabaseWrapper

MOST_TEXTS = 500
"""At most this many texts of one migration are kept apart; the others are counted together."""
OTHERS = "(other statements)"
OFTEN = 100
"""From this many runs on, a text is only looked up once in as many, which saves microseconds."""

_APPLYING = (Migration.apply.__code__, Migration.unapply.__code__)


@dataclass
class _Statement:
    executions: int = 0
    duration_ms: float = 0.0
    rows: int | None = None


class Run:
    """One run of one migration."""

    def __init__(
        self, migration: Migration, connection: BaseDatabaseWrapper, direction: str
    ) -> None:
        self.migration = migration
        self.attempts = 1
        self.started_at = timezone.now()
        self._alias = connection.alias
        self._direction = direction
        self._source_hash = source_hash(str(migration))
        self._began = perf_counter()
        self._statements: dict[tuple[int | None, str], _Statement] = {}
        self._often: dict[str, _Statement] = {}
        self._hooks: list[HookExecution] = []
        self._blockers: dict[tuple[int, str, int], dict[str, Any]] = {}
        self._stack = ExitStack()
        self._stack.enter_context(connection.execute_wrapper(self._measure))

    def retried(self) -> None:
        """Forget the statements that were rolled back."""
        self.attempts += 1
        self._statements, self._often = {}, {}

    @property
    def knows_blockers(self) -> bool:
        """Whether it is known who is in the way of this attempt."""
        return any(attempt == self.attempts for attempt, _, _ in self._blockers)

    def blocked(self, blocked_by: Iterable[dict[str, Any]], **wait: Any) -> None:
        """Note the sessions that this attempt waits for, each with its longest wait."""
        for each in blocked_by:
            key = (self.attempts, str(wait.get("relation")), each["pid"])
            self._blockers.setdefault(key, {}).update(attempt=self.attempts, **wait, **each)

    def hook(self, facts: dict[str, Any]) -> None:
        """Note a hook, from what the signal ``hook_finished`` sends."""
        result, error = facts["result"], facts["error"]
        duration_ms = round(facts["duration_ms"], 3)
        self._hooks.append(
            HookExecution(
                position=len(self._hooks),
                hook=short(facts["hook"]),
                phase=short(facts["phase"], 32),
                outcome=facts["outcome"],
                started_at=timezone.now() - timedelta(milliseconds=duration_ms),
                duration_ms=duration_ms,
                rows=getattr(result, "rows_affected", 0) or 0,
                error_type=_type_of(error),
            )
        )

    def close(self) -> None:
        """Stop measuring."""
        self._stack.close()

    def rows(
        self, duration_ms: float | None, error: BaseException | None
    ) -> tuple[MigrationExecution, list[StatementExecution], list[HookExecution]]:
        """Return the rows for the ledger, without their place in it."""
        if duration_ms is None:
            duration_ms = (perf_counter() - self._began) * 1000
        execution = MigrationExecution(
            database=short(self._alias),
            app_label=short(self.migration.app_label),
            name=short(self.migration.name),
            direction=self._direction,
            outcome="completed" if error is None else "failed",
            error_type=_type_of(error),
            attempts=self.attempts,
            blockers=list(self._blockers.values()),
            source_hash=self._source_hash,
            started_at=self.started_at,
            duration_ms=round(duration_ms, 3),
            os_user=os_user(),
            host=short(socket.gethostname()),
        )
        statements = [
            StatementExecution(
                position=position,
                operation=operation,
                sql=text,
                executions=each.executions,
                duration_ms=round(each.duration_ms, 3),
                rows=each.rows,
            )
            for position, ((operation, text), each) in enumerate(self._statements.items())
        ]
        return execution, statements, self._hooks

    def _measure(
        self,
        execute: Callable[..., Any],
        sql: Any,
        params: Any,
        many: bool,  # noqa: FBT001 - Django's signature
        context: dict[str, Any],
    ) -> Any:
        started = perf_counter()
        try:
            return execute(sql, params, many, context)
        finally:
            duration_ms = (perf_counter() - started) * 1000
            try:
                self._note(sql, duration_ms, context["cursor"])
            except Exception as error:  # noqa: BLE001 - a missing record must not stop a migration
                warn("a statement", error_line(error), self.migration)

    def _note(self, sql: Any, duration_ms: float, cursor: Any) -> None:
        statement = self._often.get(sql) if isinstance(sql, str) else None
        if statement is None or statement.executions % OFTEN == 0:
            statement = self._statement(sql, cursor)
        statement.executions += 1
        statement.duration_ms += duration_ms
        rows = getattr(cursor, "rowcount", -1)
        if rows >= 0:
            statement.rows = (statement.rows or 0) + rows

    def _statement(self, sql: Any, cursor: Any) -> _Statement:
        key = (self._operation(), _normalized(_sql_text(sql, cursor)))
        if key not in self._statements and len(self._statements) >= MOST_TEXTS:
            key = (None, OTHERS)
        statement = self._statements.setdefault(key, _Statement())
        if statement.executions >= OFTEN and isinstance(sql, str) and key[1] != OTHERS:
            self._often[sql] = statement
        return statement

    def _operation(self) -> int | None:
        """Return the index of the running operation, which only Django's own loop knows."""
        frame: FrameType | None = sys._getframe()  # the only way to find the caller
        while frame is not None:
            if frame.f_code in _APPLYING and frame.f_locals.get("self") is self.migration:
                running = frame.f_locals.get("operation")
                for index, operation in enumerate(self.migration.operations):
                    if operation is running:
                        return index
            frame = frame.f_back
        return None


@cache
def os_user() -> str:
    try:
        return short(getpass.getuser())
    except (KeyError, OSError):  # a user id without a name, as in containers
        return ""


def _normalized(text: str) -> str:
    if (found := _known.get(text)) is None:
        if len(_known) >= MOST_TEXTS:
            _known.clear()
        found = _known[text] = normalize(text)
    return found


_known: dict[str, str] = {}
"""Texts already normalized: a data migration sends the same one very often."""


def _sql_text(sql: Any, cursor: Any) -> str:
    if isinstance(sql, str):
        return sql
    if isinstance(sql, bytes):
        return sql.decode("utf-8", "replace")
    return str(sql.as_string(getattr(cursor, "connection", None)))


def _type_of(error: BaseException | None) -> str:
    """Return an error's name without its message, which may contain values of rows."""
    if error is None:
        return ""
    sqlstate = getattr(error, "sqlstate", None) or getattr(error.__cause__, "sqlstate", None)
    return short(f"{type(error).__name__} ({sqlstate})" if sqlstate else type(error).__name__)


def short(text: object, longest: int = 255) -> str:
    """Return a text cut to the length of a column."""
    return str(text).replace("\x00", "").encode("utf-8", "replace").decode()[:longest]
