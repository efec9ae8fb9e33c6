"""Reports; every format is made from ``dry_run.results`` alone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from django_confiture.dry_run.results import Report
from django_confiture.reports import github, gitlab, html, json, markdown, sarif, text
from django_confiture.reports.problems import own

FORMATS: dict[str, Callable[..., str]] = {
    "text": lambda report, **options: text.render(_folded(report), **options),
    "json": json.render,
    "html": html.render,
    "markdown": markdown.render,
    "github": github.render,
    "gitlab": gitlab.render,
    "sarif": sarif.render,
}


def render(report: Report, output_format: str, **options: object) -> str:
    """Return ``report`` in one of :data:`FORMATS`, ending with a new line."""
    return FORMATS[output_format](report, **options)


def _folded(report: Report) -> Report:
    """Return the report without what only ran first."""
    shown = own(report)
    first = [each.label for each in report.migrations if each not in shown]
    if not first:
        return report
    note = f"Ran first, since they are pending but not new: {', '.join(first)}."
    return replace(report, migrations=shown, warnings=(note, *report.warnings))
