"""The shape of a case."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from django.db.migrations import RunSQL
from django.db.migrations.operations.base import Operation

Found = set[tuple[str, str | None]]
"""Finding id and relation."""

ORDER, LINE, CUSTOMER = "cases_order", "cases_line", "cases_customer"
ARCHIVE, TAG = "cases_archive", "cases_tag"


@dataclass(frozen=True)
class Step:
    """One migration of a case, and what is expected of it."""

    operations: Sequence[Operation]
    expected: Found = field(default_factory=set)
    atomic: bool = True


@dataclass(frozen=True)
class Case:
    """A plan of one or more migrations."""

    name: str
    plan: Sequence[Step]
    locks: Mapping[str, str] = field(default_factory=dict)
    """Table → strongest lock of the last migration, where it is worth saying."""
    fails: str = ""
    """The type of the error, where it fails."""
    lock_timeout: str | None = "2s"
    since: int = 0
    """The PostgreSQL that it needs."""
    unless_available: str = ""
    """The extension whose absence it is about."""


def case(
    name: str,
    operations: Operation | Sequence[Operation],
    *expected: tuple[str, str | None],
    atomic: bool = True,
    locks: Mapping[str, str] | None = None,
    fails: str = "",
    lock_timeout: str | None = "2s",
    since: int = 0,
    unless_available: str = "",
) -> Case:
    """Return a case of one migration."""
    given = [operations] if isinstance(operations, Operation) else list(operations)
    step = Step(given, set(expected), atomic)
    return Case(name, [step], locks or {}, fails, lock_timeout, since, unless_available)


def plan(name: str, *steps: Step, locks: Mapping[str, str] | None = None) -> Case:
    """Return a case of several migrations."""
    return Case(name, steps, locks or {})


def sql(*statements: str) -> list[RunSQL]:
    """Return one RunSQL for each statement."""
    return [RunSQL(each, RunSQL.noop) for each in statements]
