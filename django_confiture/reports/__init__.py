"""Reports in all formats, made from ``dry_run.results`` alone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from django_confiture.dry_run.results import Report
from django_confiture.reports.ci import github, gitlab, sarif
from django_confiture.reports.html.render import render as render_html
from django_confiture.reports.json.render import render as render_json
from django_confiture.reports.markdown.render import render as render_markdown
from django_confiture.reports.phrases.problems import own
from django_confiture.reports.text.render import render as render_text

FORMATS: dict[str, Callable[..., str]] = {
    "text": lambda report, **options: render_text(_folded(report), **options),
    "json": render_json,
    "html": render_html,
    "markdown": render_markdown,
    "github": github.render,
    "gitlab": gitlab.render,
    "sarif": sarif.render,
}


def render(report: Report, output_format: str, **options: object) -> str:
    """Return ``report`` in one of :data:`FORMATS`, ending with a new line."""
    return FORMATS[output_format](report, **options)


def _folded(report: Report) -> Report:
    """Return the report without migrations that only ran so that the others could."""
    shown = own(report)
    first = [each.label for each in report.migrations if each not in shown]
    if not first:
        return report
    note = f"Ran first, since they are pending but not new: {', '.join(first)}."
    migrations = tuple(each for each in shown if not each.of_receivers)
    return replace(report, migrations=migrations, warnings=(note, *report.warnings))
