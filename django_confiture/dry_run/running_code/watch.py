"""Both releases along a plan: before it, after each step that touches their tables, at its end."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence, Set

from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.migrations.state import ProjectState

from django_confiture.dry_run.plan.planned import Planned
from django_confiture.dry_run.results.deploy import (
    NOTHING,
    Action,
    Break,
    Checked,
    Deploy,
    Regressed,
    StepBreaks,
    order_of,
)
from django_confiture.dry_run.running_code.catalog.facts import Changes
from django_confiture.dry_run.running_code.failure import Failure
from django_confiture.dry_run.running_code.models.operation import operation_of
from django_confiture.dry_run.running_code.models.own_fields import are_read_by_it
from django_confiture.dry_run.running_code.models.release import (
    Release,
    changed_models,
    release_of,
    tables_of,
    tables_of_changed,
)
from django_confiture.dry_run.running_code.models.touched import (
    OperationStep,
    PlannedTables,
    altered_by,
)
from django_confiture.dry_run.running_code.new_release import NewCode
from django_confiture.dry_run.running_code.probes.probe import EVERY_ACTION, Probe
from django_confiture.dry_run.running_code.queries.production_queries import ProductionQueries
from django_confiture.dry_run.running_code.releases import RunningCode, Tools
from django_confiture.dry_run.running_code.trial import Trial
from django_confiture.production.stats import QueryStats

_SELECTS: frozenset[Action] = frozenset(("select",))
UNTOUCHED = f"{NOTHING}no migration changes a model, or touches the table of one."

_FEW = 40
"""At most this many models are tried where unreadable code may change any of their tables."""


class ReleaseWatch:
    """Tries the running code and the new one at the moments that its caller names."""

    def __init__(
        self,
        wrapper: BaseDatabaseWrapper,
        old: ProjectState,
        new: ProjectState,
        *,
        queries: Sequence[QueryStats] = (),
    ) -> None:
        self._releases = release_of(old, wrapper), release_of(new, wrapper)
        self._tools = Tools(wrapper, self._releases)
        self._queries = ProductionQueries(
            self._tools.connection.session, self._tools.catalog, queries
        )
        self._regressed: dict[str, list[Regressed]] = {}
        """Migration → what it has made worse."""
        self._changed = tables_of_changed(changed_models(old, new), *self._releases)
        self._old = RunningCode(self._tools, self._releases[0])
        self._new = NewCode(self._tools, self._releases[1], self._old)
        self._breaks: list[Break] = []
        self._unread: dict[str, None] = {}
        self._names: dict[str, str] = {}
        """Table of the running release, as Django names it → as the reports do."""
        self._has_tried = False
        self._runs_code = True
        """Whether some table may run code of its own, which may come to any table."""
        self._reads_all = False
        """Whether the text of the plan says all that it touches."""

    def start(self, planned: Planned) -> None:
        """Try both before the plan, on the models that it changes or whose tables it touches."""
        touched = PlannedTables(planned, self._tools.connection.session, self._tools.catalog)
        self._names = self._shown(self._releases[0])
        self._old.start(self._chosen(touched, self._releases[0]))
        self._new.start(self._chosen(touched, self._releases[1]) | self._changed)
        self._queries.start()
        self._runs_code = bool(self._tools.catalog.with_code())
        self._reads_all = not touched.may_be_any

    def _chosen(self, touched: PlannedTables, release: Release) -> frozenset[str]:
        tables = dict.fromkeys(name for model in release.models for name in tables_of(model))
        if touched.may_be_any and len(tables) <= _FEW:
            return frozenset(tables)
        quote = self._tools.wrapper.ops.quote_name
        return frozenset(touched.of(tables, quote, self._tools.catalog))

    def _shown(self, release: Release) -> dict[str, str]:
        quote = self._tools.wrapper.ops.quote_name
        tables = {quote(name): name for model in release.models for name in tables_of(model)}
        found = self._tools.catalog.named(list(tables))
        return {tables[quoted]: each.shown for quoted, each in found.items()}

    # Steps.

    def asks(self, steps: Sequence[OperationStep]) -> bool:
        """Return whether anything is tried after a step: else the server is not asked."""
        known = bool(self._old.trials or self._queries.prepared)
        changing = self._may_change(steps)
        changing = changing or bool(self._filled_up(steps) or self._rewritten(steps))
        may_fill = any(step.sends_any for step in steps)
        return (may_fill and self._old.awaits_rows) or (known and changing)

    def stepped(self, migration: str, steps: Sequence[OperationStep]) -> tuple[Break, ...]:
        """Try the running code after a step, which may be a migration whole; return new breaks."""
        found = []
        for trial, probe, failure in self._tried(steps):
            meta = trial.model._meta
            operation = operation_of(failure, steps, self._relations(trial), trial.words)
            found.append(
                Break(
                    meta.label,
                    meta.db_table,
                    probe.action,
                    failure.sqlstate,
                    failure.error,
                    failure.sql,
                    migration,
                    operation,
                )
            )
        self._note_unread(migration, steps)
        of_queries, regressed = self._queries.prepare_after(migration, steps)
        found += of_queries
        self._regressed.setdefault(migration, []).extend(regressed)
        self._breaks += found
        return tuple(found)

    @property
    def has_tried(self) -> bool:
        """Whether anything was tried after the last step, or may have been."""
        return self._has_tried

    def _tried(self, steps: Sequence[OperationStep]) -> Iterator[tuple[Trial, Probe, Failure]]:
        changes = self._changes(steps)
        self._has_tried = bool(self._queries.prepared)
        if self.asks(steps):
            filled_up = self._filled_up(steps)
            to_try = self._old.to_try(self._affected(steps, changes), filled_up)
            self._has_tried |= bool(to_try.trials or filled_up)
            yield from self._old.try_after(to_try)

    def _changes(self, steps: Sequence[OperationStep]) -> Changes | None:
        """Return which tables of the running code changed, and forget them; None if none can."""
        catalog = self._tools.catalog
        if not self._may_change(steps):
            catalog.forget_rows()
            return None
        if not self._old.trials:
            catalog.forget()
            return None
        changes = self._old.changes()
        is_told = not any(step.outside or step.renames for step in steps)
        catalog.forget(self._tools.facts.unchanged if is_told else frozenset())
        return changes

    def _may_change(self, steps: Sequence[OperationStep]) -> bool:
        """Return whether the steps may have changed what is tried, or known of the catalogs."""
        changing = [step for step in steps if step.changes_any]
        if not changing or self._runs_code or self._queries.prepared:
            return bool(changing)
        return not all(step.is_beside(self._old.relations) for step in changing)

    def _affected(
        self, steps: Sequence[OperationStep], changes: Changes | None
    ) -> Mapping[Trial, Set[Action]]:
        """Return the actions that may come out differently than when they were last tried."""
        outside = any(step.outside for step in steps)
        rewritten = self._rewritten(steps)
        if changes is None:
            return dict.fromkeys(rewritten, _SELECTS)
        code = frozenset() if outside else self._tools.catalog.with_code()
        self._runs_code = outside or bool(code)
        if code:
            self._tools.catalog.resolve(self._old.tables)
        return {
            trial: EVERY_ACTION
            if outside
            else trial.affected(changes, code) | (_SELECTS if trial in rewritten else frozenset())
            for trial in self._old.trials
        }

    def _rewritten(self, steps: Sequence[OperationStep]) -> Sequence[Trial]:
        """Return the trials of rows with values that code of the project's own may not read."""
        written = {name for step in steps for name in step.written}
        return [
            trial
            for trial in self._old.trials
            if are_read_by_it(trial.model) and not written.isdisjoint(self._relations(trial))
        ]

    def _filled_up(self, steps: Sequence[OperationStep]) -> Sequence[Trial]:
        """Return the trials of tables that have got rows, or of all where a sequence was set."""
        filled = frozenset(name for step in steps for name in step.filled)
        if any(step.sets_sequence for step in steps):
            return self._old.trials
        return [
            trial
            for trial in self._old.trials
            if self._names.get(trial.model._meta.db_table) in filled
        ]

    def _relations(self, trial: Trial) -> frozenset[str]:
        return frozenset(self._names.get(name, name) for name in trial.tables)

    def _note_unread(self, migration: str, steps: Sequence[OperationStep]) -> None:
        tried = {name for trial in self._old.trials for name in self._relations(trial)}
        known = set(self._names.values())
        for name in sorted(altered_by(steps) & known - tried):
            self._unread[
                f"{name}: {migration} changes it in code that can't be read beforehand, so what "
                "worked before is not known"
            ] = None

    def breaks_after(self, migration: str) -> StepBreaks:
        """Return what a migration broke, by relation as the reports name it."""
        found: dict[str, tuple[Break, ...]] = {}
        for each in self._breaks:
            if each.migration == migration:
                relation = self._names.get(each.table, each.table)
                found[relation] = (*found.get(relation, ()), each)
        own = {name for trial in self._old.trials for name in tables_of(trial.model)}
        tried = frozenset(self._names.get(name, name) for name in own)
        return StepBreaks(found, tried, tuple(self._regressed.get(migration, ())))

    # The end.

    def end(self, *, complete: bool, made: Set[str] = frozenset()) -> Deploy:
        """Return what was found; ``complete`` says whether the whole plan was applied.

        The plan has ``made`` some tables with the very statements of their models.
        """
        new = self._new.end(complete=complete, made=made)
        checked = Checked(
            models=len(self._old.models | self._new.models), queries=self._queries.prepared
        )
        reasons = [*self._old.not_checked, *self._new.not_checked, *self._unread]
        reasons += self._queries.not_checked()
        if not (checked.models or checked.queries):
            reasons.append(UNTOUCHED)
        is_the_same = complete and self._reads_all and not self._unread
        return Deploy(
            order_of(self._breaks, new, checked, is_the_same=is_the_same),
            old_code=tuple(self._breaks),
            new_code=new,
            checked=checked,
            not_checked=tuple(dict.fromkeys(reasons)),
        )
