"""Aliases of the database that is rehearsed, in the migration's own thread.

They share the rehearsed connection, since a session of their own would not see what earlier
migrations have done, and would wait for their locks. For real they are other sessions, which only
matters while one of them has a transaction open: then the others wait for its locks, and don't
see what it has not committed.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Protocol

from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.utils import OperationalError
from psycopg.pq import TransactionStatus

from django_confiture.dry_run.locks.modes import LockMode
from django_confiture.dry_run.locks.rules import Lookup, statement_locks
from django_confiture.dry_run.measuring.lock_timeline import LockTimeline
from django_confiture.dry_run.measuring.relations import Catalog
from django_confiture.dry_run.measuring.stopwatch import Stopwatch
from django_confiture.dry_run.server.side_channel import Session, text_of
from django_confiture.dry_run.sql.parsing.parser import Kind, Statement, parse

_TOGETHER = (
    "It used another connection, to {alias!r}, which leads to the same database: for real that is "
    "another session, which does not see what a transaction of {main!r} has not committed, waits "
    "for its locks, and commits by itself. Here both share one."
)
_HANGS = (
    "What was sent on another connection, to {alias!r}, needs {wanted} on {relation}, on which the "
    "migration itself holds {held}. For real that is another session: it waits for the migration, "
    "the migration waits for it, and PostgreSQL sees no deadlock there. Use the connection that "
    "migrates (schema_editor.connection), or a migration of its own."
)

_Execute = Callable[..., Any]


class Measuring(Protocol):
    """The instruments of the connection that is shared."""

    @property
    def session(self) -> Session: ...
    @property
    def clock(self) -> Stopwatch: ...
    @property
    def catalog(self) -> Catalog: ...
    @property
    def timeline(self) -> LockTimeline: ...


class SharedAliases:
    """Notes what is sent on one connection while another one has a transaction open."""

    def __init__(
        self,
        main: BaseDatabaseWrapper,
        instruments: Measuring,
        not_rehearsed: Callable[[str], None],
    ) -> None:
        self._main = main
        self._session = instruments.session
        self._clock = instruments.clock
        self._catalog = instruments.catalog
        self._timeline = instruments.timeline
        self._not_rehearsed = not_rehearsed
        self._aliases: list[BaseDatabaseWrapper] = []
        self._theirs: defaultdict[int, set[LockMode]] = defaultdict(set)
        """The locks that are the aliases' own, by the relation's OID."""
        self._predicted: dict[str, list[tuple[int, LockMode]]] = {}
        """The locks of what was sent since the migration's own connection was used."""

    @contextmanager
    def noted(self, wrapper: BaseDatabaseWrapper) -> Iterator[None]:
        """Note what is sent on an alias, until the block ends.

        Django takes its own wrappers from the end of the list, where a block may be open now.
        """
        if not self._aliases:
            self._main.execute_wrappers.insert(0, self._on_main)
        self._aliases.append(wrapper)
        wrapper.execute_wrappers.insert(0, self._on_alias)
        try:
            yield
        finally:
            wrapper.execute_wrappers.remove(self._on_alias)
            self._aliases.remove(wrapper)
            if not self._aliases:
                self._main.execute_wrappers.remove(self._on_main)

    def _on_main(
        self,
        execute: _Execute,
        sql: object,
        params: Any,
        many: bool,  # noqa: FBT001
        context: Any,
    ) -> Any:
        self._predicted.clear()
        for each in self._aliases:
            if each.in_atomic_block:
                self._not_exact(each)
        return execute(sql, params, many, context)

    def _on_alias(
        self,
        execute: _Execute,
        sql: object,
        params: Any,
        many: bool,  # noqa: FBT001
        context: Any,
    ) -> Any:
        wrapper = context["connection"]
        if self._main.in_atomic_block:
            text = text_of(sql, self._session.raw)
            with self._clock.stopped():
                self._waits(wrapper, text, placeholders=params is not None)
        return execute(sql, params, many, context)

    def _waits(self, wrapper: BaseDatabaseWrapper, sql: str, *, placeholders: bool) -> None:
        """Raise if a text would wait for what the migration's own transaction holds."""
        statements = parse(sql, placeholders=placeholders)
        if all(each.kind in (Kind.QUIET, Kind.SAVEPOINT) for each in statements):
            return
        self._not_exact(wrapper)
        if self._session.status != TransactionStatus.INTRANS or self._session.in_pipeline:
            return
        if sql not in self._predicted:
            self._predicted[sql] = [lock for each in statements for lock in self._locks(each)]
        for oid, wanted in self._predicted[sql]:
            held = self._timeline.held(oid) - self._theirs[oid]
            for mode in held:
                if mode.conflicts_with(wanted):
                    shown = self._catalog.relations[oid].shown
                    alias, names = wrapper.alias, {"wanted": wanted.name, "held": mode.name}
                    raise OperationalError(_HANGS.format(alias=alias, relation=shown, **names))
            if wanted not in held:
                self._theirs[oid].add(wanted)

    def _locks(self, statement: Statement) -> Iterator[tuple[int, LockMode]]:
        if statement.node is not None:
            for lock in statement_locks(statement.node, Lookup(self._session.query)):
                yield lock.oid, lock.mode

    def _not_exact(self, wrapper: BaseDatabaseWrapper) -> None:
        self._not_rehearsed(_TOGETHER.format(alias=wrapper.alias, main=self._main.alias))
