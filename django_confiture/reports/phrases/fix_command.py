"""The command that rewrites the migrations of a report for which there is a recipe."""

from __future__ import annotations

from django.db import DEFAULT_DB_ALIAS

from django_confiture.dry_run.results import MigrationResult, Report
from django_confiture.reports.phrases import harm
from django_confiture.reports.phrases.problems import own


def commands(report: Report) -> tuple[str, ...]:
    """Return a ``confiture_fix`` for each migration with a recipe, the most harmful first."""
    migrations = own(report)
    ranked = [migrations[position] for position in harm.ranked(migrations)]
    alias = report.database.alias
    database = "" if alias == DEFAULT_DB_ALIAS else f" --database {alias}"
    return tuple(
        f"manage.py confiture_fix {each.app_label} {each.name}{_releases(each)}{database}"
        for each in ranked
        if _has_recipe(each)
    )


def line(report: Report) -> str:
    """Return the first command and how many more there are; ``""`` without any."""
    found = commands(report)
    if not found:
        return ""
    more = f", and {len(found) - 1:,} more" if len(found) > 1 else ""
    return f"{found[0]}{more}"


def _releases(migration: MigrationResult) -> str:
    """Return the flag that goes easy on the running release, where that breaks."""
    breaks = any(each.id == "running-code-breaks" for each in harm.counted(migration))
    return " --releases 2" if breaks else ""


def _has_recipe(migration: MigrationResult) -> bool:
    """Return whether there is a recipe for an operation with a finding."""
    if migration.error or migration.of_receivers or migration.direction == "backward":
        return False
    return any(each.fixable for each in harm.counted(migration))
