"""Reports in all formats, made from ``dry_run.results`` alone."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import cast

from django.utils.module_loading import import_string

from django_confiture.dry_run.results import Report
from django_confiture.reports.phrases.problems import own

FORMATS: Mapping[str, str] = {
    name: f"{__name__}.{module}.render"
    for name, module in {
        "text": "text.render",
        "json": "json.render",
        "html": "html.render",
        "markdown": "markdown.render",
        "github": "ci.github",
        "gitlab": "ci.gitlab",
        "sarif": "ci.sarif",
    }.items()
}
"""Each format → the function that writes it, imported once a report of that format is wanted."""


def render(report: Report, output_format: str, **options: object) -> str:
    """Return ``report`` in one of :data:`FORMATS`, ending with a new line."""
    write = cast("Callable[..., str]", import_string(FORMATS[output_format]))
    return write(_folded(report) if output_format == "text" else report, **options)


def _folded(report: Report) -> Report:
    """Return the report without migrations that only ran so that the others could."""
    shown = own(report)
    first = [each.label for each in report.migrations if each not in shown]
    if not first:
        return report
    note = f"Ran first, since they are pending but not new: {', '.join(first)}."
    migrations = tuple(each for each in shown if not each.of_receivers)
    return replace(report, migrations=migrations, warnings=(note, *report.warnings))
