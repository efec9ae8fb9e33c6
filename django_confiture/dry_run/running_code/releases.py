"""The running release after each migration of a plan, and the new one before the first."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence, Set
from datetime import timedelta
from functools import cache

from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import Model

from django_confiture.dry_run.results.deploy import Action, NewCodeBreak
from django_confiture.dry_run.running_code.catalog import ForeignKey, TableCatalog
from django_confiture.dry_run.running_code.catalog_rows import CatalogRows
from django_confiture.dry_run.running_code.connection import Failure, ProbeConnection
from django_confiture.dry_run.running_code.deletions import Dependents, looks_after
from django_confiture.dry_run.running_code.facts import CatalogFacts, Changes
from django_confiture.dry_run.running_code.instances import Instances
from django_confiture.dry_run.running_code.models import Release, tables_of
from django_confiture.dry_run.running_code.probes import ModelProbes, Probe
from django_confiture.dry_run.running_code.trial import Trial
from django_confiture.dry_run.running_code.values import Values

TIMEOUT = timedelta(milliseconds=500)
"""For each statement of a probe."""

Key = tuple[str, Action]
"""(``app_label.Model``, action)."""


class Tools:
    """The objects that the probes of both releases share."""

    def __init__(self, wrapper: BaseDatabaseWrapper) -> None:
        self.wrapper = wrapper
        self.connection = ProbeConnection(wrapper, timeout=TIMEOUT)
        self.catalog = TableCatalog(self.connection.session, wrapper.ops.quote_name)
        self.facts = CatalogFacts(self.connection.session, wrapper.ops.quote_name)
        self.rows = CatalogRows(self.connection.run, self.catalog)
        self.values = Values(wrapper.ops)

    def trials(self, release: Release, tables: Set[str], *, upserts: bool) -> Iterator[Trial]:
        """Yield the trials of the models that touching ``tables`` can break."""
        models = release.using(tables)
        ancestors = release.ancestors(models)
        relevant = frozenset((*models, *ancestors))
        self.catalog.resolve(model._meta.db_table for model in release.models)
        self.catalog.load(name for model in relevant for name in tables_of(model))
        for model in (*models, *ancestors):
            probes = ModelProbes(
                model,
                self.wrapper.alias,
                Instances(model, self.values, self.catalog, self.rows),
                Dependents(model, release, relevant, self.catalog, self.rows),
                self.catalog,
                self.rows,
                deletes_alone=model in ancestors,
                upserts=upserts,
            )
            yield Trial(probes, self.connection, self.catalog)


class RunningCode:
    """What the running release can no longer do once the plan, or a part of it, is applied."""

    def __init__(self, tools: Tools, release: Release) -> None:
        self._tools = tools
        self._release = release
        self._trials: list[Trial] = []
        self._found: set[Key] = set()
        self._not_checked: dict[str, None] = {}
        self._widths: Mapping[int, int] = {}
        self._tables: frozenset[str] = frozenset()

    def start(self, tables: Set[str]) -> None:
        """Try everything before the plan, on the models of ``tables``."""
        self._widths = self._tools.catalog.widths()
        with self._tools.connection.probing(self._release.apps):
            for trial in self._tools.trials(self._release, tables, upserts=True):
                trial.start()
                self._trials.append(trial)
                self._note_unchecked(trial)
        self._tables = frozenset(name for trial in self._trials for name in trial.tables)
        self.changes()

    def _note_unchecked(self, trial: Trial) -> None:
        for action in ("select", "insert", "update", "delete"):
            failures = [failure for probe, failure in trial.failed if probe.action == action]
            if failures and not any(probe.action == action for probe in trial.passed):
                self._not_checked[unchecked(trial.model, action, failures[0])] = None

    def changes(self) -> Changes:
        """Return which of the tables that are tried have changed since this was last asked."""
        return self._tools.facts.changes(self._tables)

    def after(
        self, affected: Mapping[Trial, Set[Action]]
    ) -> Iterator[tuple[Trial, Probe, Failure]]:
        """Try the affected actions again; yield what fails for the first time."""
        filled = self._filled()
        chosen = [
            trial
            for trial in self._trials
            if affected.get(trial) or any(key.table in filled for key in self._awaited(trial))
        ]
        if not chosen:
            return
        self._tools.catalog.forget()
        self._tools.catalog.resolve(each._meta.db_table for each in self._release.models)
        self._tools.catalog.load(name for trial in chosen for name in trial.tables)
        may_refer = cache(self._may_refer)  # as it is now
        with self._tools.connection.probing(self._release.apps):
            for trial in chosen:
                label = trial.model._meta.label
                known = {action for model, action in self._found if model == label}
                for probe, failure in trial.again(
                    affected.get(trial, frozenset()), may_refer, known
                ):
                    key = (label, probe.action)
                    if failure.gave_up:
                        self._not_checked[unchecked(trial.model, probe.action, failure)] = None
                    elif key not in self._found:
                        self._found.add(key)
                        yield trial, probe, failure

    def _filled(self) -> Set[int]:
        """Return the tables that have got rows, of those whose rows a deletion waits for."""
        awaited = {key.table for trial in self._trials for key in self._awaited(trial)}
        return self._tools.catalog.filled(awaited) if awaited else frozenset()

    def _awaited(self, trial: Trial) -> Sequence[ForeignKey]:
        is_broken = (trial.model._meta.label, "delete") in self._found
        return () if is_broken else trial.awaited

    @property
    def awaits_rows(self) -> bool:
        """Whether a deletion is to be tried as soon as some table has rows."""
        return any(self._awaited(trial) for trial in self._trials)

    def _may_refer(self, key: ForeignKey) -> bool:
        """Whether rows can have that foreign key: the running code fills no new column."""
        table = self._tools.catalog.table(key.table)
        if table is None:
            return False
        is_old = self._widths.get(key.table, 0) >= max(
            table.columns[name].number for name in key.columns
        )
        return is_old or (not table.is_empty and self._tools.rows.any_refers(key))

    @property
    def tables(self) -> Set[str]:
        """The tables that what is tried comes to, as Django names them."""
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


class NewCode:
    """What the new release can't do before the plan is applied."""

    def __init__(self, tools: Tools, release: Release, running: Release) -> None:
        self._tools = tools
        self._release = release
        self._running = running
        self._trials: list[Trial] = []
        self._not_checked: dict[str, None] = {}

    def start(self, tables: Set[str]) -> None:
        """Try everything before the plan."""
        with self._tools.connection.probing(self._release.apps):
            for trial in self._tools.trials(self._release, tables, upserts=False):
                trial.start()
                trial.try_referred()
                trial.try_without_key()
                self._trials.append(trial)

    def end(self, *, complete: bool) -> tuple[NewCodeBreak, ...]:
        """Try what failed again after the plan, if all of it ran; return what is a break."""
        self._tools.catalog.forget()
        if not complete:
            return tuple(found for trial in self._trials for found in _on_the_face_of_it(trial))
        self._tools.catalog.resolve(each._meta.db_table for each in self._release.models)
        self._tools.catalog.load(name for each in self._trials for name in tables_of(each.model))
        with self._tools.connection.probing(self._release.apps):
            return tuple(found for trial in self._trials for found in self._broken(trial))

    def _broken(self, trial: Trial) -> Iterator[NewCodeBreak]:
        seen: set[Action] = set()
        left: dict[Action, Failure] = {}
        for probe, failure, after in self._failures_now(trial, seen):
            stays = after is not None and not (
                self._is_of_schema(trial, failure) and self._is_of_schema(trial, after)
            )
            if failure.gave_up or stays:
                left.setdefault(probe.action, failure)
                continue
            seen.add(probe.action)
            yield _new_break(trial, probe, failure, still_after=after is not None)
        passed = {probe.action for probe in trial.passed}
        for action, failure in left.items():
            if action not in seen | passed:
                self._not_checked[unchecked(trial.model, action, failure)] = None

    def _failures_now(
        self, trial: Trial, known: Set[Action]
    ) -> Iterator[tuple[Probe, Failure, Failure | None]]:
        """Yield what failed before the plan, why, and why it fails now: None if it passes.

        What is ``known`` by then is not tried any more. The first probe of each action is tried
        together with those of the others.
        """
        if not trial.failed:
            return
        trial.capture()
        first = {probe.action: probe for probe, _failure in reversed(trial.failed)}.values()
        connection = self._tools.connection
        all_pass = connection.recorded(lambda: [probe.run() for probe in first])[0] is None
        for probe, failure in trial.failed:
            if probe.action not in known:
                passes = all_pass and probe in first
                yield probe, failure, None if passes else connection.attempt(probe.run)

    def _is_of_schema(self, trial: Trial, failure: Failure) -> bool:
        """Whether the schema refuses it, also where a row's deletion leaves others behind."""
        forgotten = any(
            looks_after(self._running, self._tools.catalog, key) for key in trial.refusing(failure)
        )
        return forgotten or _is_of_schema(trial.model, failure)

    @property
    def not_checked(self) -> tuple[str, ...]:
        return tuple(self._not_checked)

    @property
    def models(self) -> frozenset[str]:
        """The labels of the models that were tried."""
        return frozenset(trial.model._meta.label for trial in self._trials)


def _is_of_schema(model: type[Model], failure: Failure) -> bool:
    """Whether a failure is of what the schema is, not of the values that were made up."""
    if failure.sqlstate == "23502":
        return failure.column not in {each.column for each in model._meta.concrete_fields}
    return not failure.is_of_values and failure.sqlstate is not None


def _on_the_face_of_it(trial: Trial) -> Iterator[NewCodeBreak]:
    """Yield what the schema itself refuses, when it is not known whether the plan would fix it."""
    seen: set[Action] = set()
    for probe, failure in trial.failed:
        if probe.action not in seen and _is_of_schema(trial.model, failure):
            seen.add(probe.action)
            yield _new_break(trial, probe, failure, still_after=False)


def _new_break(trial: Trial, probe: Probe, failure: Failure, *, still_after: bool) -> NewCodeBreak:
    meta = trial.model._meta
    return NewCodeBreak(
        meta.label,
        meta.db_table,
        probe.action,
        failure.sqlstate,
        failure.error,
        failure.sql,
        migration=None,
        operation=None,
        still_after=still_after,
    )


def unchecked(model: type[Model], action: str, failure: Failure) -> str:
    """Return in words that something could not be tried."""
    return f"{action.upper()} of {model._meta.label}: {failure.error}"
