"""The running release after each migration of a plan, and what both releases are tried with."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from datetime import timedelta
from functools import cache
from itertools import chain

from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import Model

from django_confiture.dry_run.results.deploy import Action
from django_confiture.dry_run.running_code.catalog.catalog_rows import CatalogRows
from django_confiture.dry_run.running_code.catalog.facts import CatalogFacts, Changes
from django_confiture.dry_run.running_code.catalog.known_rows import KnownRows
from django_confiture.dry_run.running_code.catalog.numbers import Numbers
from django_confiture.dry_run.running_code.catalog.table import ForeignKey
from django_confiture.dry_run.running_code.catalog.tables import TableCatalog
from django_confiture.dry_run.running_code.failure import Failure, untold
from django_confiture.dry_run.running_code.instances.instances import Instances
from django_confiture.dry_run.running_code.instances.loaded import LoadedValues
from django_confiture.dry_run.running_code.instances.values import Values
from django_confiture.dry_run.running_code.models.own_fields import of_other_code
from django_confiture.dry_run.running_code.models.release import (
    Release,
    small_numbers,
    tables_of,
)
from django_confiture.dry_run.running_code.probes.delete_probes import DeleteProbes
from django_confiture.dry_run.running_code.probes.deletions import Dependents, cascading
from django_confiture.dry_run.running_code.probes.model_probes import ModelProbes
from django_confiture.dry_run.running_code.probes.probe import DELETES, OF_ROWS, Probe
from django_confiture.dry_run.running_code.probes.served_keys import NextKey, taken_keys
from django_confiture.dry_run.running_code.refused_otherwise import refused_otherwise
from django_confiture.dry_run.running_code.sending.connection import ProbeConnection
from django_confiture.dry_run.running_code.trial import Trial
from django_confiture.sql_text import names_in

TIMEOUT = timedelta(milliseconds=500)
"""For each statement of a probe."""

Key = tuple[str, Action]
"""(``app_label.Model``, action)."""


class Tools:
    """The objects that the probes of both releases share."""

    def __init__(self, wrapper: BaseDatabaseWrapper, releases: Iterable[Release]) -> None:
        self.wrapper = wrapper
        numbers = Numbers()
        known = KnownRows(numbers)
        self.connection = ProbeConnection(wrapper, known, timeout=TIMEOUT)
        self.catalog = TableCatalog(self.connection.session, wrapper.ops.quote_name)
        self.facts = CatalogFacts(self.connection.session, wrapper.ops.quote_name)
        small = frozenset(chain.from_iterable(map(small_numbers, releases)))
        run, run_each = self.connection.run, self.connection.run_each
        self.rows = CatalogRows(run, run_each, self.catalog, known, small)
        self.values = Values(wrapper.ops, numbers, small)
        self.loaded = LoadedValues(wrapper, self.catalog)

    def taken_keys(self, trials: Collection[Trial]) -> Mapping[type[Model], NextKey]:
        """Return the models whose next key can't be served, with that key."""
        self.catalog.load_alone(trial.model._meta.db_table for trial in trials)
        there = [trial.model for trial in trials if self._has_its_key(trial.model)]
        return taken_keys(self.connection.session, self.wrapper.ops.quote_name, there)

    def _has_its_key(self, model: type[Model]) -> bool:
        oid, field = self.catalog.oid_of(model._meta.db_table), model._meta.auto_field
        table = self.catalog.table(oid) if oid is not None and field is not None else None
        if field is None or table is None or table.primary_key != (field.column,):
            return False
        return table.columns[str(field.column)].base in ("int2", "int4", "int8")

    def of_other_code(self, trials: Iterable[Trial]) -> Iterator[str]:
        """Yield in words the fields of models that the release can't have this code for."""
        models = (trial.model for trial in trials if not trial.probes.deletes_alone)
        return of_other_code(self.wrapper, self.connection.session, self.catalog, models)

    def any_refers(self, key: ForeignKey, release: Release | None = None) -> bool:
        """Return whether rows with a foreign key are there.

        Those count that a ``release`` does not delete by another foreign key, which it knows.
        """
        table = self.catalog.table(key.table)
        if table is None or table.is_empty:
            return False
        known = cascading(release, self.catalog, key) if release is not None else ()
        return self.rows.any_refers(key, unlike=known)

    def trials(self, release: Release, tables: Set[str], *, upserts: bool) -> Iterator[Trial]:
        """Yield the trials of the models that touching ``tables`` can break."""
        models = release.using(tables)
        ancestors = release.ancestors(models)
        relevant = frozenset((*models, *ancestors))
        self.catalog.resolve(model._meta.db_table for model in release.models)
        self.catalog.load(name for model in relevant for name in tables_of(model))
        for model in (*models, *ancestors):
            alone = model in ancestors
            yield self._trial(model, release, relevant, deletes_alone=alone, upserts=upserts)

    def _trial(
        self,
        model: type[Model],
        release: Release,
        relevant: frozenset[type[Model]],
        *,
        deletes_alone: bool,
        upserts: bool,
    ) -> Trial:
        alias, catalog, rows = self.wrapper.alias, self.catalog, self.rows
        instances = Instances(model, self.values, self.loaded, catalog, rows)
        probes = ModelProbes(
            model, alias, instances, catalog, rows, deletes_alone=deletes_alone, upserts=upserts
        )
        dependents = Dependents(model, release, relevant, catalog, rows)
        deletes = DeleteProbes(model, alias, instances, dependents, catalog, rows)
        return Trial(probes, deletes, self.connection, catalog)


@dataclass(frozen=True)
class ToTry:
    """What is tried after a step."""

    trials: Sequence[Trial]
    affected: Mapping[Trial, Set[Action]]
    taken: Mapping[type[Model], NextKey]
    """Models whose next key can no longer be served → that key."""


class RunningCode:
    """What the running release can no longer do once the plan, or a part of it, is applied."""

    def __init__(self, tools: Tools, release: Release) -> None:
        self._tools = tools
        self.release = release
        self._trials: list[Trial] = []
        self._found: set[Key] = set()
        self._not_checked: dict[str, None] = {}
        self._widths: Mapping[int, int] = {}
        self._tables: frozenset[str] = frozenset()
        self._words: frozenset[str] = frozenset()
        self._taken: Mapping[type[Model], NextKey] = {}
        """Models whose next key can't be served → that key, as it was before the plan."""

    def start(self, tables: Set[str]) -> None:
        """Try everything before the plan, on the models of ``tables``."""
        self._widths = self._tools.catalog.widths()
        with self._tools.connection.probing(self.release.apps):
            for trial in self._tools.trials(self.release, tables, upserts=True):
                trial.start()
                self._trials.append(trial)
                self._note_unchecked(trial)
        self._not_checked |= dict.fromkeys(self._tools.of_other_code(self._trials))
        self._tables = frozenset(name for trial in self._trials for name in trial.tables)
        self._words = frozenset(name for trial in self._trials for name in trial.words)
        self._taken = self._tools.taken_keys(self._trials)
        self._tools.facts.changes(self._tables)

    def _note_unchecked(self, trial: Trial) -> None:
        for action in ("select", "insert", "update", "delete"):
            failures = [failure for probe, failure in trial.failed if probe.action == action]
            if failures and not any(probe.action == action for probe in trial.passed):
                self._not_checked[unchecked(trial.model, action, failures[0])] = None

    def changes(self) -> Changes:
        """Return which of the tables that are tried have changed since this was last asked."""
        return self._tools.facts.changes(self._tables, self._tools.catalog.names)

    def to_try(
        self, affected: Mapping[Trial, Set[Action]], filled_up: Collection[Trial] = ()
    ) -> ToTry:
        """Return what may come out differently: of models with ``affected`` actions, and others.

        The caller has made the catalog forget what it knew before the migration.
        ``filled_up`` are those whose tables have got rows, or whose sequences were set.
        """
        filled = self._filled()
        taken = self._newly_taken(filled_up) if filled_up else {}
        chosen = [
            trial
            for trial in self._trials
            if affected.get(trial)
            or trial.model in taken
            or any(key.table in filled for key in self._awaited(trial))
        ]
        return ToTry(chosen, affected, taken)

    def try_after(self, to_try: ToTry) -> Iterator[tuple[Trial, Probe, Failure]]:
        """Try the affected actions again; yield what fails for the first time."""
        chosen, affected, taken = to_try.trials, to_try.affected, to_try.taken
        if not chosen:
            return
        self._tools.catalog.resolve(each._meta.db_table for each in self.release.models)
        self._tools.catalog.load(name for trial in chosen for name in trial.tables)
        unknown = [trial.deletes.dependents.unknown_references() for trial in chosen]
        self._tools.catalog.fetch(key.table for keys in unknown for key in keys)
        may_refer = cache(self._may_refer)  # as it is now
        with self._tools.connection.probing(self.release.apps):
            for trial in chosen:
                label = trial.model._meta.label
                known = {action for model, action in self._found if model == label}
                actions = affected.get(trial, frozenset())
                again = trial.again(actions, may_refer, known, taken.get(trial.model))
                refused = refused_otherwise(self._tools.connection, trial, actions - known)
                for probe, failure in chain(again, refused):
                    if failure.gave_up:
                        self._not_checked[unchecked(trial.model, probe.action, failure)] = None
                    elif probe.is_untold:
                        said = untold(f"{probe.name} of {label}", "running", failure)
                        self._not_checked[said] = None
                    elif (label, probe.action) not in self._found:
                        self._found.add((label, probe.action))
                        yield trial, probe, failure

    def _newly_taken(self, trials: Collection[Trial]) -> Mapping[type[Model], NextKey]:
        """Return the models of which the server can no longer make the next key."""
        now = self._tools.taken_keys(trials)
        return {model: key for model, key in now.items() if model not in self._taken}

    def _filled(self) -> Set[int]:
        """Return the tables that have got rows, of those whose rows a deletion waits for."""
        awaited = {key.table for trial in self._trials for key in self._awaited(trial)}
        return self._tools.catalog.filled(awaited) if awaited else frozenset()

    def _awaited(self, trial: Trial) -> Sequence[ForeignKey]:
        return () if (trial.model._meta.label, "delete") in self._found else trial.awaited

    @property
    def awaits_rows(self) -> bool:
        """Whether a deletion is to be tried as soon as some table has rows."""
        return any(self._awaited(trial) for trial in self._trials)

    def _may_refer(self, key: ForeignKey, action: Action) -> bool:
        """Whether rows can have that foreign key: the running code fills no new column."""
        table = self._tools.catalog.table(key.table)
        if table is None:
            return False
        is_old = self._widths.get(key.table, 0) >= max(
            table.columns[name].number for name in key.columns
        )
        return is_old or self._tools.any_refers(key, self.release if action == "delete" else None)

    @property
    def relations(self) -> Set[str]:
        """The names, without a schema, of the tables that are known, and of what they depend on."""
        looked_up = names_in(*self._tools.catalog.names.values())
        return self._words | looked_up | self._tools.facts.relations

    @property
    def tables(self) -> Set[str]:
        """The tables that the trial reaches, as Django names them."""
        return self._tables

    @property
    def trials(self) -> Sequence[Trial]:
        """What was tried before the plan."""
        return self._trials

    @property
    def not_checked(self) -> tuple[str, ...]:
        return tuple(self._not_checked)

    @property
    def models(self) -> frozenset[str]:
        """The labels of the models that were tried."""
        return frozenset(trial.model._meta.label for trial in self._trials)

    def passed_like(self, trial: Trial) -> Set[Action]:
        """Return the actions of another release's model that passed in this one, word for word."""
        label = trial.model._meta.label
        twin = next((each for each in self._trials if each.model._meta.label == label), None)
        return frozenset() if twin is None else _passed_like(trial, twin)

    def failed_so(self, table: str, action: Action, failure: Failure) -> bool:
        """Return whether this release failed in the same way before the plan, on that table."""
        return any(
            (probe.action, found.sqlstate, found.error) == (action, failure.sqlstate, failure.error)
            for trial in self._trials
            if trial.model._meta.db_table == table
            for probe, found in trial.failed
        )


def _passed_like(trial: Trial, twin: Trial) -> Set[Action]:
    own, other = trial.deletes.dependents, twin.deletes.dependents
    failed = {probe.action for probe, _failure in twin.failed}
    same: set[Action] = set()
    if failed.isdisjoint(OF_ROWS) and own.sent_about_rows() == other.sent_about_rows():
        same |= OF_ROWS
    if failed.isdisjoint(DELETES) and own.sent() == other.sent():
        same |= DELETES
    return same & {probe.action for probe in twin.passed}


def unchecked(model: type[Model], action: str, failure: Failure) -> str:
    """Return in words that something could not be tried."""
    return f"{action.upper()} of {model._meta.label}: {failure.error}"
