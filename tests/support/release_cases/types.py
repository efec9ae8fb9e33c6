"""Columns and keys of other types."""

from __future__ import annotations

from django.db import models
from django.db.migrations import AlterField, CreateModel

from tests.support.release_cases.things import TITLE
from tests.support.releases import Case

CASES = [
    Case(
        "small_keys_become_large",
        [CreateModel("Color", [("id", models.SmallAutoField(primary_key=True)), TITLE])],
        [[AlterField("Color", "id", models.BigAutoField(primary_key=True))]],
        {"Color": [lambda n, get: {"title": f"t{n}"}]},
    ),
]
