"""The running release after each migration of a plan, and the new one before the first."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Set
from dataclasses import dataclass, replace
from datetime import timedelta

from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import Model

from django_confiture.dry_run.results.deploy import Action, Break
from django_confiture.dry_run.running_code.catalog import ForeignKey, TableCatalog
from django_confiture.dry_run.running_code.catalog_rows import CatalogRows
from django_confiture.dry_run.running_code.connection import Failure, ProbeConnection
from django_confiture.dry_run.running_code.deletions import Dependents
from django_confiture.dry_run.running_code.instances import Instances
from django_confiture.dry_run.running_code.models import Release, tables_of
from django_confiture.dry_run.running_code.probes import ModelProbes, Probe
from django_confiture.dry_run.running_code.trial import Trial
from django_confiture.dry_run.running_code.values import Values

TIMEOUT = timedelta(milliseconds=500)
"""For each statement of a probe."""

Key = tuple[str, Action]
"""(``app_label.Model``, action)."""


@dataclass(frozen=True)
class Happened:
    """A migration, or an operation of one, that has just been applied."""

    migration: str
    operation: int | None = None


class Tools:
    """What the probes of both releases share."""

    def __init__(self, wrapper: BaseDatabaseWrapper, timeout: timedelta) -> None:
        self.wrapper = wrapper
        self.connection = ProbeConnection(wrapper, timeout=timeout)
        self.catalog = TableCatalog(self.connection.session, wrapper.ops.quote_name)
        self.rows = CatalogRows(self.connection.run, self.catalog)
        self.values = Values(wrapper.ops)

    def trials(self, release: Release, tables: Set[str], *, upserts: bool) -> Iterator[Trial]:
        """Yield the trials of the models that touching ``tables`` can break."""
        models = release.using(tables)
        ancestors = release.ancestors(models)
        relevant = frozenset((*models, *ancestors))
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
        self._found: dict[Key, Break] = {}
        self._not_checked: dict[str, None] = {}
        self._widths: Mapping[int, int] = {}

    def start(self, tables: Set[str]) -> None:
        """Try everything before the plan, on the models of ``tables``."""
        self._widths = self._tools.catalog.widths()
        with self._tools.connection.probing(self._release.apps):
            for trial in self._tools.trials(self._release, tables, upserts=True):
                trial.start()
                self._trials.append(trial)
                self._note_unchecked(trial)

    def _note_unchecked(self, trial: Trial) -> None:
        for action in ("select", "insert", "update", "delete"):
            failures = [failure for probe, failure in trial.failed if probe.action == action]
            if failures and not any(probe.action == action for probe in trial.passed):
                self._not_checked[unchecked(trial.model, action, failures[0])] = None

    def after(self, happened: Happened, tables: Set[str] | None = None) -> list[Break]:
        """Try it again; return what fails for the first time. None: all that was tried before."""
        self._tools.catalog.forget()
        found: list[Break] = []
        chosen = [
            each for each in self._trials if tables is None or not tables.isdisjoint(each.tables)
        ]
        self._tools.catalog.load(name for trial in chosen for name in tables_of(trial.model))
        with self._tools.connection.probing(self._release.apps):
            for trial in chosen:
                found += self._again(trial, happened)
        return found

    def _again(self, trial: Trial, happened: Happened) -> Iterator[Break]:
        for probe, failure in trial.again(self._may_refer):
            key = (trial.model._meta.label, probe.action)
            if failure.gave_up:
                self._not_checked[unchecked(trial.model, probe.action, failure)] = None
            elif key not in self._found:
                self._found[key] = broken(trial.model, probe, failure, happened)
                yield self._found[key]

    def _may_refer(self, key: ForeignKey) -> bool:
        """Whether rows can have that foreign key: the running code fills no new column."""
        table = self._tools.catalog.table(key.table)
        numbers = [table.columns[name].number for name in key.columns] if table else []
        is_old = max(numbers, default=0) <= self._widths.get(key.table, 0)
        return is_old or self._tools.rows.any_refers(key)

    @property
    def breaks(self) -> tuple[Break, ...]:
        return tuple(self._found.values())

    @property
    def not_checked(self) -> tuple[str, ...]:
        return tuple(self._not_checked)

    @property
    def models(self) -> frozenset[str]:
        """The labels of the models that were tried."""
        return frozenset(trial.model._meta.label for trial in self._trials)


class NewCode:
    """What the new release can't do before the plan is applied."""

    def __init__(self, tools: Tools, release: Release) -> None:
        self._tools = tools
        self._release = release
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

    def end(self) -> tuple[Break, ...]:
        """Try what failed again after the plan; return what is a break."""
        self._tools.catalog.forget()
        with self._tools.connection.probing(self._release.apps):
            return tuple(found for trial in self._trials for found in self._broken(trial))

    def _broken(self, trial: Trial) -> Iterator[Break]:
        seen: set[Action] = set()
        left: dict[Action, Failure] = {}
        trial.capture()
        for probe, failure in trial.failed:
            if probe.action in seen:
                continue
            after = self._tools.connection.attempt(probe.run)
            stays = after is not None and not (
                _is_of_schema(trial.model, failure) and _is_of_schema(trial.model, after)
            )
            if failure.gave_up or stays:
                left.setdefault(probe.action, failure)
                continue
            seen.add(probe.action)
            yield replace(broken(trial.model, probe, failure, None), still_after=after is not None)
        passed = {probe.action for probe in trial.passed}
        for action, failure in left.items():
            if action not in seen | passed:
                self._not_checked[unchecked(trial.model, action, failure)] = None

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


def broken(model: type[Model], probe: Probe, failure: Failure, happened: Happened | None) -> Break:
    """Return a failure as the report has it."""
    return Break(
        model._meta.label,
        model._meta.db_table,
        probe.action,
        failure.sqlstate,
        failure.error,
        failure.sql,
        happened.migration if happened is not None else None,
        happened.operation if happened is not None else None,
    )


def unchecked(model: type[Model], action: str, failure: Failure) -> str:
    """Return in words that something could not be tried."""
    return f"{action.upper()} of {model._meta.label}: {failure.error}"
