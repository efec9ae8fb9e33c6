"""Fields of a project's own, for the migrations of the corpus."""

from __future__ import annotations

from typing import Any

from django.db import models


class LowerField(models.CharField):  # type: ignore[type-arg]
    """A text that is stored in lower case."""

    def get_prep_value(self, value: Any) -> Any:
        return value.lower() if isinstance(value, str) else value


class GramsField(models.PositiveIntegerField):  # type: ignore[type-arg]
    """A weight, with a type of its own name."""

    def db_type(self, connection: Any) -> str:
        return "bigint"
