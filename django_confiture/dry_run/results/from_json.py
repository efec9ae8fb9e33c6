"""Results read back from a JSON report, so that a stored report can be rendered again."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django_confiture.dataclass_trees import from_json_values
from django_confiture.dry_run.results import Report


def restored(document: Mapping[str, Any]) -> Report:
    """Return the report that a JSON document describes.

    Fields that an older release did not write get their defaults. Raises ``TypeError`` for a
    missing field without a default, and so for a document that is not a report.
    """
    return from_json_values(Report, document)
