"""Results from what JSON has made of them, so that a report that was kept can be rendered again."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django_confiture.dataclass_trees import from_json_values
from django_confiture.dry_run.results import Report


def restored(document: Mapping[str, Any]) -> Report:
    """Return the report that a JSON report tells of.

    What an older release did not know gets its default. Raises ``TypeError`` where there is none,
    as for a document that is not a report.
    """
    return from_json_values(Report, document)
