"""Upserts that the new release can send only once the plan has made their unique constraint.

Whether code has them is in no model: so they are no break, and the report tells of them.
"""

from __future__ import annotations

from collections.abc import Iterator

from django_confiture.dry_run.running_code.failure import Failure
from django_confiture.dry_run.running_code.models.release import tables_of
from django_confiture.dry_run.running_code.probes.probe import Probe
from django_confiture.dry_run.running_code.releases import Tools
from django_confiture.dry_run.running_code.trial import Trial


class ComingUpserts:
    """Tries the upserts of the new release before the plan, and again after it."""

    def __init__(self, tools: Tools) -> None:
        self._tools = tools
        self._refused: list[tuple[str, Probe, Failure]] = []

    def try_before(self, trial: Trial) -> None:
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
                self._refused.append((model._meta.label, probe, failure))

    def cured(self) -> Iterator[str]:
        """Yield in words those that work after the plan."""
        for label, probe, failure in self._refused:
            if self._tools.connection.attempt(probe.run) is None:
                yield (
                    f"bulk_create(update_conflicts=True) of {label} with {probe.name}: no model"
                    f" tells if the new release does so; before the plan {failure.error}"
                )
