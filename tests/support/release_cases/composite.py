"""Plans on a model with a composite primary key."""

from __future__ import annotations

from typing import Any

from django.db import models
from django.db.migrations import AlterField, CreateModel, RenameField, RunSQL
from django.db.migrations.operations.base import Operation

from tests.support.release_cases.library import key
from tests.support.releases import Case, Rows

_READINGS = [
    CreateModel("Probe", [("id", key()), ("name", models.TextField(default=""))]),
    CreateModel(
        "Reading",
        [
            ("pk", models.CompositePrimaryKey("probe_id", "seq")),
            ("probe", models.ForeignKey("cases.Probe", models.CASCADE)),
            ("seq", models.IntegerField()),
            ("value", models.IntegerField(default=0)),
        ],
    ),
]
_TRIGGER = """
    CREATE FUNCTION dry_refuses() RETURNS trigger LANGUAGE plpgsql AS
      $$ BEGIN RAISE 'not here'; END $$;
    CREATE TRIGGER dry_refuses AFTER {} ON cases_reading FOR EACH ROW {}
      EXECUTE FUNCTION dry_refuses();
"""
_CHANGED = "WHEN (old.value IS DISTINCT FROM new.value)"
_ROWS: Rows = {
    "Probe": [lambda n, get: {"name": f"p{n}"}],
    "Reading": [lambda n, get: {"probe_id": get("Probe"), "seq": n, "value": n}],
}
_FAR: Rows = {
    **_ROWS,
    "Reading": [lambda n, get: {"probe_id": get("Probe"), "seq": n if n < 99 else n + 40_000}],
}
"""Rows that are there have smaller numbers than those that are tried."""


def readings(name: str, *plan: Operation, **options: Any) -> Case:
    """Return a case on probes and what they read."""
    rows = options.pop("rows", _ROWS)
    return Case(name, _READINGS, [[each] for each in plan], rows, **options)


CASES = [
    readings("composite_key_whose_rows_go", RunSQL("DELETE FROM cases_reading")),
    readings("composite_key_in_a_trigger_after_insert", RunSQL([_TRIGGER.format("INSERT", "")])),
    readings(
        "composite_key_in_a_trigger_after_changes",
        RunSQL([_TRIGGER.format("UPDATE", _CHANGED)]),
    ),
    readings(
        "composite_key_beside_a_renamed_column",
        RenameField("Reading", "value", "result"),
        new_rows={"Reading": [lambda n, get: {"probe_id": get("Probe"), "seq": n, "result": n}]},
    ),
    readings(
        "composite_key_gets_narrower",
        AlterField("Reading", "seq", models.SmallIntegerField()),
        rows=_FAR,
    ),
]
