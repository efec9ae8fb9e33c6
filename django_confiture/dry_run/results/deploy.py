"""What the running release and the new one can't do on the schema that the other one needs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Action = Literal["select", "insert", "update", "delete", "query"]
Order = Literal["either", "migrate_first", "code_first", "neither", "unknown"]


@dataclass(frozen=True)
class Break:
    """Something that a release can do on one schema and can't do on the other."""

    model: str | None
    """``app_label.Model``; None for a query of production."""
    table: str
    action: Action
    sqlstate: str | None
    """None where Django or Python refused, not PostgreSQL."""
    error: str
    sql: str
    """The statement, with ``%s`` for its values."""
    migration: str | None
    """The first migration after which it fails; of new code, the one that cures it."""
    operation: int | None = None
    """The index of that migration's operation; None where more than one could be it."""
    still_after: bool = False
    """New code alone: it fails after the plan as well, so that no order helps."""


@dataclass(frozen=True)
class Checked:
    """How much was executed."""

    models: int = 0
    queries: int = 0


@dataclass(frozen=True)
class Deploy:
    """What the time between the migration and the deploy of the code is like."""

    old_code: tuple[Break, ...] = ()
    new_code: tuple[Break, ...] = ()
    checked: Checked = Checked()
    not_checked: tuple[str, ...] = ()
    """What could not be executed, and why."""

    @property
    def order(self) -> Order:
        """The order in which the migration and the new code can go live."""
        if not self.checked.models and not self.checked.queries:
            return "unknown"
        match bool(self.old_code), bool(self.new_code):
            case False, False:
                return "either"
            case False, True:
                return "migrate_first"
            case True, False:
                return "code_first"
            case _:
                return "neither"
