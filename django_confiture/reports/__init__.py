"""Reports; every format is made from ``dry_run.results`` alone."""

from __future__ import annotations

from collections.abc import Callable

from django_confiture.dry_run.results import Report
from django_confiture.reports import json, text

FORMATS: dict[str, Callable[..., str]] = {"text": text.render, "json": json.render}


def render(report: Report, output_format: str, **options: object) -> str:
    """Return ``report`` in one of :data:`FORMATS`, ending with a new line."""
    return FORMATS[output_format](report, **options)
