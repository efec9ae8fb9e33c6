"""The finding about tables that a plan leaves different from their models."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from django_confiture.dry_run.findings.finding import finding
from django_confiture.dry_run.results import Finding, MigrationResult
from django_confiture.formatting import count
from django_confiture.silencing import COMPLETED_BY, reasons_of_migration

if TYPE_CHECKING:
    from django.db.migrations.migration import Migration

    from django_confiture.dry_run.results.drift import Difference
    from django_confiture.dry_run.schema_check.plan_check import PlanDrift

_MOST = 20
"""The most differences of one table that its finding lists."""


def with_drift(
    results: Sequence[MigrationResult], plan: Iterable[tuple[Migration, bool]], drift: PlanDrift
) -> list[MigrationResult]:
    """Return the results with a finding for each table, at the last migration that touched it.

    Additions that no statement of the models can meet are a notice of their own: an index made by
    hand, a column that an earlier release still needs, a default that the database keeps.
    """
    migrations = {(each.app_label, each.name): each for each, _backwards in plan}
    grouped: defaultdict[tuple[str, bool], list[Difference]] = defaultdict(list)
    for each in drift.made:
        grouped[each.table, each.harmless].append(each)
    found = list(results)
    for (table, harmless), differences in grouped.items():
        at = _last_to_touch(found, table, drift.app_labels or {})
        migration = migrations.get((found[at].app_label, found[at].name))
        added = _finding(table, differences, migration)
        if completed_by := _completed_later(migration, migrations):
            added = replace(added, silenced=f"{completed_by} completes it, in the next release")
        if harmless:
            message = f"After the plan, {table} has what its model does not say"
            added = replace(added, severity="notice", message=message)
        found[at] = replace(found[at], findings=(added, *found[at].findings))
    return found


def _completed_later(migration: Migration | None, plan: Collection[tuple[str, str]]) -> str | None:
    """Return the migration that makes the models and the schema agree again, if it is to come."""
    name: str | None = getattr(migration, COMPLETED_BY, None)
    is_to_come = migration is not None and (migration.app_label, name) not in plan
    return name if is_to_come else None


def drift_notes(drift: PlanDrift) -> list[str]:
    """Return what was different before, and what could not be compared, as warnings."""
    notes = [
        f"Already different from the models before the plan: {each.sentence}."
        for each in drift.before
    ]
    notes += [
        f"The schema of {table} was not compared with its model: {reason}."
        for table, reason in (drift.not_compared or {}).items()
    ]
    return notes


def _last_to_touch(
    results: Sequence[MigrationResult], table: str, app_labels: Mapping[str, str]
) -> int:
    for index in reversed(range(len(results))):
        for change in results[index].schema_changes:
            if table in (change.relation, change.name):
                return index
    for index in reversed(range(len(results))):
        if results[index].app_label == app_labels.get(table):
            return index
    return len(results) - 1


def _finding(table: str, differences: Sequence[Difference], migration: Migration | None) -> Finding:
    sentences = [each.sentence for each in differences[:_MOST]]
    if more := len(differences) - _MOST:
        sentences += [f"and {count(more, 'more difference')}"] if more > 0 else []
    found = finding(
        "schema-differs-from-models",
        None,
        table,
        f"After the plan, {table} is not what its model would create",
        evidence=sentences,
    )
    reasons = reasons_of_migration(migration) if migration is not None else {}
    return replace(found, silenced=reasons.get(found.id))
