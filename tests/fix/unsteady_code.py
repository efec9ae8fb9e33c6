"""Code of a data migration that does another thing each time that it runs."""

from __future__ import annotations

from collections.abc import Callable
from itertools import count
from typing import Any

_runs = count(1)


def unsteady(apps: Any, _schema_editor: Any) -> None:
    apps.get_model("cases", "Order").objects.filter(pk=1).update(total=next(_runs) + 7)


def only_first(module: str) -> Callable[[Any, Any], None]:
    """Return code that writes in the original's file alone, not in those of a fix."""

    def write(apps: Any, _schema_editor: Any) -> None:
        if "proposed" not in module:
            apps.get_model("cases", "Order").objects.filter(pk=1).update(total=7)

    return write
