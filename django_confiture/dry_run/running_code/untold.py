"""What the new release can do only once the plan is applied, if it does so at all.

An upsert by a unique constraint that the plan makes, a comparison with a column of another type:
whether code has them is in no model. So they are no break, and the report tells of them.
"""

from __future__ import annotations

from collections.abc import Iterator

from django.db.models import Model

from django_confiture.dry_run.running_code.failure import Failure, untold
from django_confiture.dry_run.running_code.models.release import tables_of
from django_confiture.dry_run.running_code.probes.other_types import Fields, comparisons
from django_confiture.dry_run.running_code.probes.probe import Probe
from django_confiture.dry_run.running_code.releases import Tools
from django_confiture.dry_run.running_code.trial import Trial


class Untold:
    """Tries it before the plan, and again after it."""

    def __init__(self, tools: Tools) -> None:
        self._tools = tools
        self._refused: list[tuple[str, Probe, Failure]] = []

    def try_before(self, trial: Trial, fields: Fields) -> None:
        """Try what a model comes to; ``fields`` have columns of another type."""
        self._try_upserts(trial)
        passed = {probe.action for probe in trial.passed}
        failed = {probe.action for probe, _ in trial.failed}
        for probe in comparisons(trial.probes, fields) if "select" in passed - failed else ():
            failure = self._tools.connection.attempt(probe.run)
            if failure is not None and failure.sqlstate and not failure.is_of_values:
                self._note(trial.model, probe, failure)

    def _try_upserts(self, trial: Trial) -> None:
        """Try those whose constraint is not there, of a model whose rows can be inserted."""
        catalog, model = self._tools.catalog, trial.model
        variant = next((probe.variant for probe in trial.passed if probe.action == "insert"), None)
        tables = catalog.tables(tables_of(model))
        known = {frozenset(columns) for table in tables for columns in table.unique}
        column_of = {each.name: each.column for each in model._meta.concrete_fields}
        for names, probe in trial.probes.upserts(variant) if variant else ():
            if {column_of[name] for name in names} in known:
                continue
            failure = self._tools.connection.attempt(probe.run)
            if failure is not None and failure.lacks_unique:
                self._note(model, probe, failure)

    def _note(self, model: type[Model], probe: Probe, failure: Failure) -> None:
        self._refused.append((model._meta.label, probe, failure))

    def cured(self) -> Iterator[str]:
        """Yield in words what works after the plan."""
        for label, probe, failure in self._refused:
            if self._tools.connection.attempt(probe.run) is None:
                what = f"bulk_create(update_conflicts=True) of {label} with {probe.name}"
                if probe.is_untold:
                    what = f"{probe.name} of {label}"
                yield untold(what, "new", failure)
