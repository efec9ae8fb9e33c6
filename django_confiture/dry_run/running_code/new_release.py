"""What the new release can't do before a plan is applied."""

from __future__ import annotations

from collections.abc import Iterator, Set

from django_confiture.dry_run.results.deploy import Action, NewCodeBreak
from django_confiture.dry_run.running_code import at_once
from django_confiture.dry_run.running_code.catalog.table import ForeignKey
from django_confiture.dry_run.running_code.failure import Failure
from django_confiture.dry_run.running_code.models.release import Release, tables_of
from django_confiture.dry_run.running_code.probes.deletions import looks_after
from django_confiture.dry_run.running_code.probes.made_up import is_of_extreme, is_of_schema
from django_confiture.dry_run.running_code.probes.other_types import Fields, typed_otherwise
from django_confiture.dry_run.running_code.probes.probe import Probe
from django_confiture.dry_run.running_code.releases import RunningCode, Tools, unchecked
from django_confiture.dry_run.running_code.trial import Trial
from django_confiture.dry_run.running_code.untold import Untold


class NewCode:
    """What the new release can't do before the plan is applied."""

    def __init__(self, tools: Tools, release: Release, running: RunningCode) -> None:
        self._tools = tools
        self._release = release
        self._running = running
        self._trials: list[Trial] = []
        self._not_checked: dict[str, None] = {}
        self._refused: set[Failure] = set()
        """What the schema before the plan refused."""
        self._untold = Untold(tools)

    def start(self, tables: Set[str]) -> None:
        """Try everything before the plan."""
        with self._tools.connection.probing(self._release.apps):
            trials = list(self._tools.trials(self._release, tables, upserts=False))
            refused = at_once.refused(self._tools, trials)
            for trial in trials:
                trial.start(refused.get(trial, ()), self._running.passed_like(trial))
                fields = self._typed_otherwise(trial)
                trial.try_unknown(self._refers, fields)
                self._trials.append(trial)
                self._untold.try_before(trial, fields)
                self._refused |= {
                    each for _, each in trial.failed if self._is_of_schema(trial, each)
                }

    def _typed_otherwise(self, trial: Trial) -> Fields:
        """Return the fields of which the running release knows the columns by another type."""
        other = self._running.release.by_table.get(trial.model._meta.db_table)
        if other is None or trial.probes.deletes_alone:
            return ()
        return typed_otherwise(trial.model, other, self._tools.wrapper.alias)

    def _refers(self, key: ForeignKey, action: Action) -> bool:
        return self._tools.any_refers(key, self._release if action == "delete" else None)

    def end(self, *, complete: bool, made: Set[str]) -> tuple[NewCodeBreak, ...]:
        """Try what failed again after the plan, if all of it ran; return what is a break.

        Of tables that the plan has ``made`` just as their models would, it passes.
        """
        self._tools.catalog.forget()
        if not complete:
            return tuple(found for each in self._trials for found in self._on_the_face_of_it(each))
        self._tools.catalog.resolve(each._meta.db_table for each in self._release.models)
        self._tools.catalog.load(name for each in self._trials for name in tables_of(each.model))
        with self._tools.connection.probing(self._release.apps):
            passing = at_once.passing(self._tools, self._trials, made)
            self._not_checked |= dict.fromkeys(self._untold.cured())
            return tuple(
                found
                for trial in self._trials
                for found in self._broken(trial, passing.get(trial, frozenset()))
            )

    def _is_of_deploy(self, trial: Trial, probe: Probe, failure: Failure) -> bool:
        """Whether the schema before the plan refused it, and not to the running release as well."""
        table = trial.model._meta.db_table
        known = self._running.failed_so(table, probe.action, failure)
        return failure in self._refused and not known

    def _on_the_face_of_it(self, trial: Trial) -> Iterator[NewCodeBreak]:
        """Yield what the schema refuses, when it is not known whether the plan would fix it."""
        seen: set[Action] = set()
        for probe, failure in trial.failed:
            counts = not probe.is_optional and self._is_of_deploy(trial, probe, failure)
            if probe.action not in seen and counts:
                seen.add(probe.action)
                yield _new_break(trial, probe, failure, still_after=False)

    def _broken(self, trial: Trial, passing: Set[Action]) -> Iterator[NewCodeBreak]:
        seen: set[Action] = set()
        left: dict[Action, Failure] = {}
        for probe, failure, after in self._failures_now(trial, passing, seen):
            if after is not None and probe.is_optional:
                continue
            after = self._of_fresh_row(trial, probe, after)
            if after is None and self._worked_on_nothing(probe, failure):
                after = failure
            # An extreme number is too large for what is computed, not for its own column.
            overflows = is_of_extreme(probe, failure) and trial.has_same_types
            stays_so = after is not None and not self._is_of_deploy(trial, probe, failure)
            if failure.gave_up or overflows or stays_so:
                left.setdefault(probe.action, failure)
                continue
            seen.add(probe.action)
            stays = after is not None and self._is_of_schema(trial, after)
            yield _new_break(trial, probe, failure, still_after=stays)
        passed = {probe.action for probe in trial.passed}
        for action, failure in left.items():
            if action not in seen | passed:
                self._not_checked[unchecked(trial.model, action, failure)] = None

    def _failures_now(
        self, trial: Trial, passing: Set[Action], known: Set[Action]
    ) -> Iterator[tuple[Probe, Failure, Failure | None]]:
        """Yield what failed before the plan, why, and why it fails now: None if it passes.

        The first probe of each action passes if the action is ``passing``; the others are tried
        together. What is ``known`` by then is not tried any more.
        """
        first = at_once.first_failed(trial)
        left = [probe for probe in first if probe.action not in passing]
        connection = self._tools.connection
        all_pass = True
        if left:
            trial.capture()
            all_pass = at_once.all_pass(connection, left)
        for probe, failure in trial.failed:
            if probe.action not in known:
                passes = probe in first and (all_pass or probe not in left)
                after = None if passes else connection.attempt(probe.run)
                yield probe, failure, None if after is None or after.is_of_commit else after

    def _of_fresh_row(self, trial: Trial, probe: Probe, after: Failure | None) -> Failure | None:
        """Return why an UPDATE fails now of a row that was not read before the plan."""
        if after is None or probe.action != "update" or probe.variant is not None:
            return after
        others = (each for each, _ in trial.failed if each.action == "update" and each.variant)
        fresh = next(others, None)
        return after if fresh is None else self._tools.connection.attempt(fresh.run)

    def _worked_on_nothing(self, probe: Probe, failure: Failure) -> bool:
        """Whether what failed for its values passes because there is no row to write them to."""
        if not failure.is_of_values or probe.preceded_by is None:
            return False
        made = self._tools.connection.attempt(probe.preceded_by)
        return made is not None and made.lacks_value

    def _is_of_schema(self, trial: Trial, failure: Failure) -> bool:
        """Whether the schema refuses it, also where a row's deletion leaves others behind."""
        forgotten = any(
            looks_after(self._running.release, self._tools.catalog, key)
            for key in trial.deletes.dependents.refusing(failure)
        )
        return forgotten or is_of_schema(trial.model, failure)

    @property
    def not_checked(self) -> tuple[str, ...]:
        return tuple(self._not_checked)

    @property
    def models(self) -> frozenset[str]:
        """The labels of the models that were tried."""
        return frozenset(trial.model._meta.label for trial in self._trials)


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
