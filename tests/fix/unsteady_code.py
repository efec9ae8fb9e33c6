"""Code of a data migration that does another thing each time that it runs."""

from __future__ import annotations

from itertools import count
from typing import Any

_runs = count(1)


def unsteady(apps: Any, _schema_editor: Any) -> None:
    apps.get_model("cases", "Order").objects.filter(pk=1).update(total=next(_runs) + 7)
