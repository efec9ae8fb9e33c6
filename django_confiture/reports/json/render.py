"""The JSON report: what other programs may rely on; see docs/json-report.md."""

from __future__ import annotations

import json
from dataclasses import fields, is_dataclass
from typing import Any

import django_confiture
from django_confiture.dry_run.results import Report

SCHEMA_VERSION = 1


def render(report: Report, **_options: object) -> str:
    """Return the report as one JSON object; times in ms, sizes in bytes."""
    document = {
        "schema_version": SCHEMA_VERSION,
        "tool": {"name": "django-confiture", "version": django_confiture.__version__},
        **_plain(report),
        "coverage": _plain(report.coverage),
    }
    return json.dumps(document, indent=2) + "\n"


def _plain(value: Any) -> Any:
    if is_dataclass(value) and not isinstance(value, type):
        return {field.name: _plain(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, (list, tuple)):
        return [_plain(each) for each in value]
    if isinstance(value, float):
        return round(value, 3)
    return value
