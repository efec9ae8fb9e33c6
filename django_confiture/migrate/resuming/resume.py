"""A non-atomic migration goes on where it was cut off: at its first step that was not done."""

from __future__ import annotations

import hashlib
import logging
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from django.db import Error as DatabaseError
from django.db import transaction

from django_confiture import signals
from django_confiture.exceptions import MigrateRefused
from django_confiture.formatting import count
from django_confiture.hooks.deferred_sql import flush_deferred_sql
from django_confiture.migrate.resuming import cut_off, journal, steps
from django_confiture.migrate.resuming.journal import DONE, STARTED, Backend, Journal, JournalEntry
from django_confiture.migrate.sessions.dead_client import end_with_client
from django_confiture.migrate.watching.announcements import log_facts

if TYPE_CHECKING:
    from django.db.backends.base.schema import BaseDatabaseSchemaEditor
    from django.db.migrations.migration import Migration
    from django.db.migrations.operations.base import Operation
    from django.db.migrations.state import ProjectState

logger = logging.getLogger("django_confiture.migrate")

_NEEDS_NO_TRANSACTION = frozenset({"25001", "2D000"})
"""active_sql_transaction, invalid_transaction_termination: what PostgreSQL says of a statement
that has to run, or to commit, outside of a transaction."""


def journaled(
    migration: Migration,
    editor: BaseDatabaseSchemaEditor,
    sender_facts: dict[str, Any],
    *,
    session_is_shared: bool,
) -> AbstractContextManager[None]:
    """Return a context in which the operations of a migration are journaled and resumed."""
    connection = editor.connection
    if not journal.is_available(connection):
        _warn_without_journal(migration, connection.alias)
        return nullcontext()
    backend = Backend(None, "")
    if not session_is_shared:
        backend = journal.this_backend(connection)
        end_with_client(connection.connection)
    return Resumption(migration, editor, backend, sender_facts).operations()


def _warn_without_journal(migration: Migration, alias: str) -> None:
    logger.warning(
        "%s.%s could not go on if it were cut off: the journal's table is not in %r yet; "
        "migrate confiture_history first.",
        migration.app_label,
        migration.name,
        alias,
        extra=log_facts(migration),
    )


class Resumption:
    """One run of a migration whose steps are journaled, and skipped where they were done before."""

    def __init__(
        self,
        migration: Migration,
        editor: BaseDatabaseSchemaEditor,
        backend: Backend,
        sender_facts: dict[str, Any],
    ) -> None:
        self._migration = migration
        self._editor = editor
        self._connection = editor.connection
        self._sender_facts = sender_facts
        self._journal = Journal(
            self._connection, migration, fingerprint=fingerprint(migration), backend=backend
        )
        self._earlier = {(each.operation, each.step): each for each in self._journal.entries()}
        self._skipped: set[int] = set()
        self._has_resumed = False
        self._refuse_changed_text()

    @contextmanager
    def operations(self) -> Iterator[None]:
        """Let Django's own loop run the steps, instead of the operations as they stand."""
        migration: Any = self._migration
        plain = migration.operations
        migration.operations = [_Resumable(each, index, self) for index, each in enumerate(plain)]
        try:
            yield
        finally:
            migration.operations = plain
        self._tell(len(plain))

    def perform(
        self,
        index: int,
        operation: Operation,
        app_label: str,
        states: tuple[ProjectState, ProjectState],
    ) -> None:
        """Run the steps of one operation that no earlier run has done."""
        all_steps = steps.steps_of(operation, app_label, self._editor, states)
        for number, step in enumerate(all_steps):
            entry = self._earlier.get((index, number))
            if entry is not None and entry.state == DONE:
                self._skipped.add(index)
                continue
            if entry is not None and self._was_completed(step, entry):
                self._journal.write(DONE, index, number)
                self._skipped.add(index)
                continue
            self._tell(index)
            self._do(step, index, number, entry)

    def _was_completed(self, step: steps.ResumableStep, entry: JournalEntry) -> bool:
        raw = self._connection.connection
        cut_off.wait_for_orphan(entry.backend, self._migration, raw)
        return cut_off.is_done(step, entry, raw)

    def _do(
        self, step: steps.ResumableStep, index: int, number: int, entry: JournalEntry | None
    ) -> None:
        if step.in_transaction == steps.NEVER or not self._in_transaction(step, index, number):
            self._without_transaction(step, index, number, entry)

    def _in_transaction(self, step: steps.ResumableStep, index: int, number: int) -> bool:
        """Do a step and note that, or neither; return False where it can't be in a transaction."""
        try:
            with transaction.atomic(using=self._connection.alias):
                step.run(self._migration.app_label, self._editor)
                flush_deferred_sql(self._editor)
                self._journal.write(DONE, index, number)
        except DatabaseError as error:
            sqlstate = getattr(error.__cause__, "sqlstate", None)
            if step.in_transaction == steps.TRY and sqlstate in _NEEDS_NO_TRANSACTION:
                return False
            raise
        return True

    def _without_transaction(
        self, step: steps.ResumableStep, index: int, number: int, entry: JournalEntry | None
    ) -> None:
        raw = self._connection.connection
        cut_off.drop_invalid_indexes(step, self._migration, raw)
        named = cut_off.indexes_named_in(step.names, raw)
        before = {name: oid for name, (oid, _valid) in named.items()}
        self._journal.write(STARTED, index, number, before)
        try:
            with self._connection.wrap_database_errors:
                is_finalized = cut_off.finalize_detach(step, self._migration, raw)
            if not is_finalized:
                step.run(self._migration.app_label, self._editor)
            flush_deferred_sql(self._editor)
        except Exception as error:
            if entry is not None:
                self._explain(error, step, index, entry)
            raise
        self._journal.write(DONE, index, number)

    def _explain(
        self, error: Exception, step: steps.ResumableStep, index: int, entry: JournalEntry
    ) -> None:
        """Add to the error of a step that was cut off before what exists of it, and what to do."""
        there = ""
        with suppress(Exception):  # the connection may be gone, or its transaction broken
            there = cut_off.describe(step, self._connection.connection)
        error.add_note(
            f"Operation {index} of {self._migration} ({step.operation.describe()}) was cut off at "
            f"{entry.started_at}, so part of what it does may be there, and it was run again from "
            f"its beginning. {there}Undo what it has done and migrate again; or complete it by "
            f"hand, and say so before: {self._journal.how_to_mark_done(entry)}"
        )

    def _refuse_changed_text(self) -> None:
        entries = self._earlier.values()
        if all(each.fingerprint == fingerprint(self._migration) for each in entries):
            return
        done = len({each.operation for each in entries if each.state == DONE})
        raise MigrateRefused(
            f"{self._migration} was cut off after {count(done, 'operation')}, and its file has "
            "changed since, so it can't go on there: put the file back as it was and migrate; or "
            f"undo what it has done, and forget that: {self._journal.how_to_forget()}"
        )

    def _tell(self, index: int) -> None:
        """Log once where the migration goes on, unless that is its beginning."""
        if self._has_resumed or not self._earlier:
            return
        self._has_resumed = True
        facts = {"operation": index, "skipped": len(self._skipped - {index})}
        logger.info("migration_resumed", extra={**log_facts(self._migration), **facts})
        signals.migration_resumed.send_robust(
            sender=signals.sender_for(self._migration.app_label),
            migration=self._migration,
            **self._sender_facts,
            **facts,
        )


class _Resumable:
    """Replaces an operation in the migration that Django runs; has the same attributes."""

    atomic = False  # each step has what it needs

    def __init__(self, operation: Operation, index: int, resumption: Resumption) -> None:
        self.plain = operation
        self._index = index
        self._resumption = resumption

    def __getattr__(self, name: str) -> Any:
        return getattr(self.plain, name)

    def database_forwards(
        self,
        app_label: str,
        _editor: BaseDatabaseSchemaEditor,
        from_state: ProjectState,
        to_state: ProjectState,
    ) -> None:
        """Run what is left of the operation."""
        self._resumption.perform(self._index, self.plain, app_label, (from_state, to_state))


def fingerprint(migration: Migration) -> str:
    """Return a hash of a migration's text: its file, and the kinds of its operations."""
    digest = hashlib.sha256()
    path = getattr(sys.modules.get(type(migration).__module__), "__file__", None)
    if path is not None:
        with suppress(OSError):
            digest.update(Path(path).read_bytes())
    digest.update(",".join(type(each).__name__ for each in migration.operations).encode())
    return digest.hexdigest()
