"""What the running release and the new one can't do on the schema that the other one needs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
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
    """The statement, with ``%s`` in place of its values."""
    migration: str | None
    """The first migration after which it fails; None for new code, which fails before any."""
    operation: int | None
    """The index of that migration's operation; None where more than one could be it."""


@dataclass(frozen=True)
class NewCodeBreak(Break):
    """Something that the new release can't do until the plan is applied."""

    still_after: bool
    """It fails after the plan as well, so that no order helps."""


@dataclass(frozen=True)
class Regressed:
    """A query of production whose plan a migration has made worse."""

    text: str
    calls_per_second: float | None
    relation: str
    """As the reports name it."""
    why: str
    before: str
    after: str


@dataclass(frozen=True)
class StepBreaks:
    """What the running code can no longer do after a migration, or does more slowly."""

    breaks: Mapping[str, tuple[Break, ...]] = field(default_factory=dict)
    """Relation, as reports name it → what breaks there."""
    tried: frozenset[str] = frozenset()
    """The relations whose models were tried, whether something broke or not."""
    regressed: tuple[Regressed, ...] = ()


@dataclass(frozen=True)
class Checked:
    """How much was executed."""

    models: int = 0
    queries: int = 0


@dataclass(frozen=True)
class Deploy:
    """What breaks between the migration and the deploy, and in which order to do them."""

    order: Order
    """In which order the migration and the new code can go live."""
    old_code: tuple[Break, ...] = ()
    """What running code can no longer do once the plan, or a part of it, is applied."""
    new_code: tuple[NewCodeBreak, ...] = ()
    """What new code can't do before the plan is applied."""
    checked: Checked = Checked()
    not_checked: tuple[str, ...] = ()
    """What could not be executed, and why."""


NOTHING = "Nothing: "
"""How the reason begins when neither release was tried at all."""

NOTHING_TRIED = Deploy("unknown", not_checked=(f"{NOTHING}no release was tried.",))


def order_of(
    old_code: Sequence[Break],
    new_code: Sequence[Break],
    checked: Checked,
    *,
    is_the_same: bool,
) -> Order:
    """Return the deploy order that avoids the breaks.

    ``is_the_same`` says what it means that nothing was tried: no table differs, or who knows.
    """
    if not (checked.models or checked.queries or is_the_same):
        return "unknown"
    match bool(old_code), bool(new_code):
        case False, False:
            return "either"
        case False, True:
            return "migrate_first"
        case True, False:
            return "code_first"
        case _:
            return "neither"
