"""The JSON Schema, which every JSON report of the suite has to obey.

It is generated again, so that one test says that the published one is old, and not all of them.
Thousands of reports are checked: hence the validator in Rust.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

from jsonschema_rs import Draft202012Validator

from django_confiture.reports.json import schema

PUBLISHED = Path(schema.__file__).with_name("report.schema.json")


@cache
def _validator() -> Draft202012Validator:
    return Draft202012Validator(schema.schema())


def errors(document: Any) -> list[str]:
    """Return what the schema has against a document."""
    found = _validator().iter_errors(document)
    return [f"{'/'.join(map(str, error.instance_path))}: {error.message}" for error in found]
