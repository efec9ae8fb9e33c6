"""Checks both releases during a rehearsal: the running one after each step, the new one before."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass

from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.migrations.migration import Migration
from django.db.migrations.recorder import MigrationRecorder
from django.db.migrations.state import ProjectState

from django_confiture.dry_run.locks.modes import LockMode
from django_confiture.dry_run.plan.planned import Planned
from django_confiture.dry_run.recording.records import (
    RecordedMigration,
    RecordedOperation,
    RecordedSection,
)
from django_confiture.dry_run.results.deploy import NOTHING, Deploy, StepBreaks
from django_confiture.dry_run.running_code.models.touched import (
    OperationStep,
    is_of_others,
    sets_sequence,
)
from django_confiture.dry_run.running_code.sending.connected_settings import (
    ConnectedSettings,
    may_set,
)
from django_confiture.dry_run.running_code.watch import ReleaseWatch
from django_confiture.dry_run.sql.parsing.enums import ObjectType
from django_confiture.dry_run.sql.parsing.parser import Kind, Statement
from django_confiture.dry_run.sql.texts.redaction import message
from django_confiture.dry_run.stage import Aside, Opened
from django_confiture.formatting import one_line
from django_confiture.production.stats import QueryStats

SWITCHED_OFF = f"{NOTHING}running code is not checked in this dry run."
NEVER_BEGAN = f"{NOTHING}no migration was rehearsed."

_CHANGING = (Kind.DDL, Kind.OPAQUE, Kind.UNPARSED)


@dataclass(frozen=True)
class Releases:
    """The states of the models when a plan starts, and when it has ended."""

    old: ProjectState
    new: ProjectState


class DeployWatch:
    """Tries both releases at the points that the rehearsal reports."""

    def __init__(
        self,
        wrapper: BaseDatabaseWrapper,
        opened: Opened,
        *,
        enabled: bool,
        queries: Sequence[QueryStats] = (),
    ) -> None:
        """Take as ``queries`` those that production runs often."""
        self._wrapper = wrapper
        self._queries = queries
        self._opened = opened
        self._enabled = enabled
        self._watch: ReleaseWatch | None = None
        self._connected: ConnectedSettings | None = None
        self._has_set = False
        """Whether a migration may have set something for its session."""
        self.made_as_models: frozenset[str] = frozenset()
        """The tables that the plan has made with the very statements of their models."""
        why = NEVER_BEGAN if enabled else SWITCHED_OFF
        self._deploy = Deploy("unknown", not_checked=(why,))

    def start(self, read: Callable[[], Releases], planned: Callable[[], Planned]) -> None:
        """Try both releases before the plan."""
        if not self._enabled:
            return
        try:
            releases = read()
            watch = ReleaseWatch(self._wrapper, releases.old, releases.new, queries=self._queries)
        except Exception as error:  # noqa: BLE001 - what a state raises, a migration will raise again
            why = f"The models can't be rendered: {one_line(message(error, of_code=False))}"
            self._deploy = Deploy("unknown", not_checked=(why,))
            return
        with self._opened.aside():
            self._connected = ConnectedSettings(self._opened.instruments.session)
            watch.start(planned())
        self._watch = watch

    def follows_operations_of(self, migration: Migration) -> bool:
        """Return whether others see each operation before the next one begins."""
        return self._watch is not None and not migration.atomic

    def operation_ended(self, migration: Migration, operation: RecordedOperation) -> None:
        """Try the running code after an operation of a migration that is followed."""
        assert self._watch is not None
        self._note_settings(operation.section)
        self._stepped(self._watch, str(migration), [_step(operation.index, operation.section)])

    def migration_ended(
        self, recorded: RecordedMigration, error: BaseException | None
    ) -> StepBreaks:
        """Try the running code after a migration; return what it broke."""
        if self._watch is None or error is not None:
            return StepBreaks()
        label = str(recorded.migration)
        sections = list(recorded.sections)
        steps = [_step(each.index if each else None, section) for each, section in sections]
        self._note_settings(*(section for _, section in sections))
        if self._watch.asks(steps):
            self._stepped(self._watch, label, steps)
        else:
            self._watch.stepped(label, steps)
        return self._watch.breaks_after(label)

    def _stepped(self, watch: ReleaseWatch, label: str, steps: Sequence[OperationStep]) -> None:
        with self._as_connected() as done:
            watch.stepped(label, steps)
            if not watch.has_tried:
                done.reads_catalogs_alone()

    def end(self, *, complete: bool) -> None:
        """Try again what the new code could not do; ``complete`` says if the whole plan ran."""
        watch, self._watch = self._watch, None
        if watch is None:
            return
        if not complete:
            self._deploy = watch.end(complete=False)
            return
        with self._as_connected():
            self._deploy = watch.end(complete=True, made=self.made_as_models)

    def _note_settings(self, *done: RecordedSection) -> None:
        self._has_set |= any(may_set(each.statement) for part in done for each in part.statements)

    @contextmanager
    def _as_connected(self) -> Iterator[Aside]:
        """Work aside, with the settings that code connects with and not those of a migration."""
        assert self._connected is not None
        restored = self._connected.restored() if self._has_set else nullcontext()
        with self._opened.aside() as done, restored:
            yield done

    @property
    def deploy(self) -> Deploy:
        """The result, as the report has it."""
        return self._deploy


def _step(operation: int | None, section: RecordedSection) -> OperationStep:
    locks: dict[str, LockMode] = {}
    for statement in section.statements:
        for lock in statement.result.locks:
            mode = LockMode[lock.mode]
            locks[lock.relation] = max(mode, locks.get(lock.relation, mode))
    changing = [each for each in section.statements if each.statement.kind in _CHANGING]
    writes = [write for each in section.statements for write in each.result.writes]
    return OperationStep(
        operation,
        locks,
        tuple(each.statement.sql for each in changing),
        outside=any(
            not each.result.locks and _may_be_of_others(each.statement) for each in changing
        ),
        of_tables=all(_is_of_tables(each.statement) for each in changing),
        renames=any(
            each.statement.kind is not Kind.DDL or each.statement.what == "rename_stmt"
            for each in changing
        ),
        filled=frozenset(
            [
                *(write.relation for write in writes if write.inserted),
                *(name for each in section.statements for name in _inserted_into(each.statement)),
            ]
        ),
        sets_sequence=any(sets_sequence(each.statement) for each in section.statements),
        sends_any=any(not _notes_migration(each.statement) for each in section.statements),
    )


def _is_of_tables(statement: Statement) -> bool:
    """Return whether it changes nothing but tables that it locks, or names if they are new."""
    what = statement.what
    if what == "alter_table_stmt":  # an index is altered without a lock of its table
        is_one = statement.node.alter_table_stmt.objtype == ObjectType.TABLE
    else:
        is_one = what in ("create_stmt", "index_stmt")
    return is_one and not statement.functions_called


def _notes_migration(statement: Statement) -> bool:
    """Return whether it is how Django notes that a migration was applied."""
    table = MigrationRecorder.Migration._meta.db_table
    return statement.what == "insert_stmt" and list(_inserted_into(statement)) == [table]


def _inserted_into(statement: Statement) -> Iterator[str]:
    """Yield the table that it inserts into by its text: rows of new tables are not measured."""
    if statement.what == "insert_stmt":
        yield statement.node.insert_stmt.relation.relname


def _may_be_of_others(statement: Statement) -> bool:
    """Return whether a statement that locks no table may affect the users of any table.

    One that names a table locks it, unless it was made in the same plan.
    """
    return statement.node is None or is_of_others(statement)
