"""The published JSON Schema: made from the dataclasses, strict, and obeyed by every report."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib import resources
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from django_confiture.dry_run.results import Report
from django_confiture.reports import render
from django_confiture.reports.json import schema
from tests.support.published_schema import PUBLISHED, errors
from tests.support.report_cases import (
    FAILED,
    HOSTILE,
    MIGRATION,
    SAFE,
    forecast,
    hostile,
    report_of,
)


def test_the_published_schema_is_that_of_the_dataclasses() -> None:
    assert PUBLISHED.read_text() == schema.render(), "run: make schema"


def test_the_schema_is_one() -> None:
    Draft202012Validator.check_schema(schema.schema())


def test_it_is_in_the_package_and_can_be_printed() -> None:
    inside = resources.files("django_confiture.reports.json") / "report.schema.json"
    printed = subprocess.run(
        [sys.executable, "-m", "django_confiture.reports.json.schema"],
        capture_output=True,
        text=True,
        check=True,
    )

    assert printed.stdout == inside.read_text()


def objects(part: Any) -> list[dict[str, Any]]:
    """Return every schema of an object in a schema."""
    if isinstance(part, list):
        return [found for each in part for found in objects(each)]
    if not isinstance(part, dict):
        return []
    own = [part] if "properties" in part and "type" in part else []
    return own + [found for each in part.values() for found in objects(each)]


def test_no_object_may_have_more_or_less() -> None:
    found = objects(schema.schema())

    assert len(found) > 20
    for each in found:
        assert each["additionalProperties"] is False
        assert each["required"] == list(each["properties"])


@pytest.mark.parametrize(
    "report",
    [report_of(), report_of(SAFE, MIGRATION, FAILED), forecast(), *map(hostile, HOSTILE.values())],
)
def test_reports_obey_it(report: Report) -> None:
    assert errors(json.loads(render(report, "json"))) == []


@pytest.mark.parametrize(
    "change",
    [
        {"extra": 1},
        {"outcome": "fine"},
        {"duration_ms": "1 s"},
        {"schema_version": 2},
        {"migrations": [{}]},
        {"yielded_to": None},
    ],
)
def test_it_is_strict(change: dict[str, Any]) -> None:
    document = json.loads(render(report_of(MIGRATION), "json"))

    assert len(errors({**document, **change})) >= 1
    del document["tool"]
    assert errors(document) == [': "tool" is a required property']


def test_fields_are_described() -> None:
    found = schema.schema()["$defs"]["Scan"]

    assert found["description"] == (
        "One relation read from end to end by a statement, or much of it through its indexes."
    )
    assert found["properties"]["rows"] == {
        "type": ["integer", "null"],
        "description": "Rows that the scans returned; None if parallel workers hide them.",
    }
    assert found["properties"]["relation"] == {"type": "string"}


def test_a_type_that_has_no_schema_is_refused() -> None:

    with pytest.raises(TypeError, match=r"no JSON Schema for <class 'bytes'>"):
        schema._type(bytes, {})
