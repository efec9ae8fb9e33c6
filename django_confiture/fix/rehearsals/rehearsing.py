"""Rehearses migrations, and records the schema and the rows at the end."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from django.core.management.sql import emit_pre_migrate_signal
from django.db.models import CASCADE

from django_confiture.dry_run.measuring.schema.schema_diff import SchemaWatch
from django_confiture.dry_run.measuring.schema.schema_objects import Schema
from django_confiture.dry_run.migration_executor import RehearsalExecutor
from django_confiture.dry_run.results import Report
from django_confiture.dry_run.rewriting.code_of_database import read_counting, read_own_functions
from django_confiture.dry_run.rewriting.facts import PartitionIndex
from django_confiture.dry_run.rewriting.known_objects import (
    KnownObjects,
    read_known,
    read_partition_indexes,
    read_partitioned,
)
from django_confiture.dry_run.server.side_channel import Session
from django_confiture.dry_run.settings import dry_run_settings
from django_confiture.dry_run.transaction_rehearsal import transaction_rehearsal
from django_confiture.fix.rehearsals.not_null_names import not_null_names
from django_confiture.fix.rehearsals.rows import Rows, RowsToRead, read_rows
from django_confiture.formatting import one_line

if TYPE_CHECKING:
    from django.db.backends.base.base import BaseDatabaseWrapper
    from django.db.migrations.migration import Migration
    from django.db.migrations.state import ProjectState

    from django_confiture.dry_run.rehearsal import Rehearsal

SchemaText = Mapping[tuple[str, str, str], str]
"""Kind, table and name of each object → its definition."""


@dataclass(frozen=True)
class Reached:
    """The state that a rehearsal reached before it was rolled back."""

    state: ProjectState
    schema: SchemaText
    rows: Rows
    taken_back: bool
    """Whether taking it back led to the schema before."""
    partitioned: frozenset[str]
    """The partitioned tables, by the names that statements may give them."""
    partition_indexes: Mapping[str, Sequence[PartitionIndex]]
    """Index of a partitioned table → those of its partitions, at the end."""
    known: KnownObjects
    """What was there before it."""
    counting: Mapping[str, str]
    """Table → a trigger of it that does more each time a row is updated, at the end."""
    own_functions: frozenset[str]
    """The functions whose result may depend on more than what they are given, at the end."""

    @cached_property
    def cascades(self) -> frozenset[tuple[str, str]]:
        """(table, column) of the foreign keys with ``CASCADE``, by the models."""
        return frozenset(
            (model._meta.db_table.replace('"', "").rpartition(".")[2], str(field.column))
            for model in self.state.apps.get_models(include_auto_created=True)
            for field in model._meta.local_concrete_fields
            if field.remote_field is not None and field.remote_field.on_delete is CASCADE
        )


@dataclass(frozen=True)
class Ending:
    """What a rehearsal reported, and what it came to."""

    report: Report
    reached: Reached | None
    """None where it failed on the way."""

    @property
    def why_failed(self) -> str:
        """The error, on one line."""
        errors = [each.error for each in self.report.migrations if each.error is not None]
        error = errors[0] if errors else self.report.error
        return "it did not finish" if error is None else one_line(error.message)


def rehearsed(
    wrapper: BaseDatabaseWrapper,
    migrations: Sequence[Migration],
    *,
    missing: Sequence[Migration],
    rows: RowsToRead,
    deployed: Sequence[Migration] | None = None,
) -> Ending:
    """Rehearse ``missing``, on which they depend, and the migrations; roll everything back.

    ``deployed`` are applied first too. What runs meanwhile is then the new code, which knows all
    of the migrations.
    """
    settings = dry_run_settings()
    rehearsal = transaction_rehearsal(
        wrapper, settings=settings, show_values=True, running_code=settings.running_code
    )
    reached = None
    with rehearsal.open():
        try:
            before = _Before(missing, deployed or (), code_first=deployed is not None)
            reached = _Run(rehearsal, wrapper).reached(migrations, before, rows)
        except Exception as error:  # noqa: BLE001 - whatever a migration raises is in the report
            rehearsal.failed(error)
    return Ending(rehearsal.report(), reached)


def varying_columns(rehearse: Callable[[RowsToRead], Ending]) -> Mapping[str, Sequence[str]]:
    """Return table → columns whose values differ each time that the original runs."""
    one, other = (rehearse(RowsToRead(by_column=True)).reached for _ in range(2))
    found: dict[str, list[str]] = {}
    if one is not None and other is not None:
        for (table, column), was in one.rows.items():
            if other.rows.get((table, column)) != was:
                found.setdefault(table, []).append(column)
    return found


@dataclass(frozen=True)
class _Before:
    missing: Sequence[Migration]
    deployed: Sequence[Migration]
    code_first: bool


class _Run:
    """The steps of one rehearsal."""

    def __init__(self, rehearsal: Rehearsal, wrapper: BaseDatabaseWrapper) -> None:
        self._rehearsal = rehearsal
        self._executor = RehearsalExecutor(rehearsal, wrapper)
        self._session = Session(wrapper.connection)

    def reached(
        self,
        migrations: Sequence[Migration],
        first: _Before,
        to_read: RowsToRead,
    ) -> Reached:
        """Apply, look, and take back."""
        state = self._begin([*first.missing, *first.deployed, *migrations])
        plan = [*first.missing, *migrations]
        for each in first.deployed:
            state = self._executor.apply_migration(state, each)
        ahead = [(each, False) for each in plan]
        self._executor.look_ahead(ahead, state.clone(), code_first=first.code_first)
        for each in first.missing:
            state = self._executor.apply_migration(state, each)
        before = _as_text(SchemaWatch(self._session).first)
        known = read_known(self._session)
        states = [state]
        for each in migrations:
            states.append(self._executor.apply_migration(states[-1].clone(), each))
        schema = {**not_null_names(self._session), **_as_text(self._rehearsal.schemas()[1])}
        rows = read_rows(self._session, to_read)
        partitioned = read_partitioned(self._session)
        indexes = read_partition_indexes(self._session)
        code = read_counting(self._session), read_own_functions(self._session)
        back = self._taken_back(migrations, states, before)
        return Reached(states[-1], schema, rows, back, partitioned, indexes, known, *code)

    def _begin(self, migrations: Sequence[Migration]) -> ProjectState:
        executor = self._executor
        executor.recorder.ensure_schema()
        state: ProjectState = executor.project_state()
        plan = [(each, False) for each in migrations]
        self._rehearsal.planned(plan)
        for each in migrations:
            executor.record(each)
        using = executor.connection.alias
        emit_pre_migrate_signal(0, interactive=False, db=using, apps=state.apps, plan=plan)
        return state

    def _taken_back(
        self, migrations: Sequence[Migration], states: Sequence[ProjectState], before: SchemaText
    ) -> bool:
        """Return whether the migrations can be undone, with the schema of before."""
        if not all(each.reversible for one in migrations for each in one.operations):
            return False
        with self._rehearsal.reversing():
            try:
                for each, state in reversed([*zip(migrations, states, strict=False)]):
                    self._executor.unapply_migration(state.clone(), each)
            except Exception:  # noqa: BLE001 - whatever it raises, it can't be taken back
                return False
        return _as_text(self._rehearsal.schemas()[1]) == before


def _as_text(schema: Schema) -> SchemaText:
    return {
        (each.kind, each.relation or "", each.name): each.definition
        for objects in schema.values()
        for each in objects
    }
