"""The JSON report, which other programs may rely on; see docs/json-report.md."""

from __future__ import annotations

import json

import django_confiture
from django_confiture.dataclass_trees import to_json_values
from django_confiture.dry_run.results import Report

SCHEMA_VERSION = 1


def render(report: Report, **_options: object) -> str:
    """Return the report as one JSON object; times in ms, sizes in bytes."""
    document = {
        "schema_version": SCHEMA_VERSION,
        "tool": {"name": "django-confiture", "version": django_confiture.__version__},
        **to_json_values(report),
        "coverage": to_json_values(report.coverage),
    }
    return json.dumps(document, indent=2) + "\n"
