"""The outcome of a fix: what each operation becomes, the files, and the proof."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from django.db import DEFAULT_DB_ALIAS

Outcome = Literal["fixed", "kept", "refused"]


@dataclass(frozen=True)
class OperationOutcome:
    """What becomes of one operation."""

    index: int
    description: str
    finding: str | None
    """The id of the finding that it is about."""
    outcome: Outcome
    reason: str | None
    """Why it is refused, or kept although there is a finding."""


@dataclass(frozen=True)
class FixedFile:
    """One migration file."""

    name: str
    """The migration's name, without ``.py``."""
    source: str
    next_release: bool = False
    """Whether it has to wait for the next release."""


@dataclass(frozen=True)
class BreakLeft:
    """Something that running code can't do with the files either."""

    model: str | None
    """``app_label.Model``; None for a query of production."""
    action: str
    error: str
    file: str
    """The first of the files after which it fails."""
    operations: tuple[int, ...]
    """The indexes of the operations that the file comes from."""
    reason: str
    """Why it is left."""
    next_release: bool
    """Whether it is the next release's code that loses it."""


@dataclass(frozen=True)
class Proof:
    """The original and the files, rehearsed one after the other, compared."""

    schema_equal: bool
    state_equal: bool
    rows_equal: bool
    dangers_before: int
    dangers_after: int
    dangers_left_to_expect: int
    """Those of the operations that are not fixed."""
    blocked_ms_before: float
    blocked_ms_after: float
    running_code_breaks_before: int
    running_code_breaks_after: int
    reversible: bool
    """Whether the files can be taken back as far as the original can."""
    not_compared: tuple[str, ...] = ()
    """The columns whose values differ each time that the original runs: ``table.column``."""
    differences: tuple[str, ...] = ()
    """What is not equal, one line each."""
    running_code_breaks_left: tuple[BreakLeft, ...] = ()
    """Those after, one for each action on a model."""

    @property
    def holds(self) -> bool:
        """Whether nothing speaks against the files."""
        return (
            self.schema_equal
            and self.state_equal
            and self.rows_equal
            and self.reversible
            and not self.differences
            and self.dangers_after <= self.dangers_left_to_expect
            and self.running_code_breaks_after <= self.running_code_breaks_before
        )


@dataclass(frozen=True)
class ReducedStep:
    """An operation, and its statements."""

    words: str
    statements: tuple[str, ...]


@dataclass(frozen=True)
class ReducedCase:
    """What there is to report where a proof failed; without the project's names and values."""

    original: tuple[ReducedStep, ...]
    """The operations that are fixed."""
    files: tuple[ReducedStep, ...]
    differences: tuple[str, ...]


@dataclass(frozen=True)
class Fix:
    """What ``confiture_fix`` found out about one migration."""

    migration: str
    """``app_label.name``."""
    operations: tuple[OperationOutcome, ...]
    files: tuple[FixedFile, ...] = ()
    proof: Proof | None = None
    """None where nothing could be fixed."""
    reduced: ReducedCase | None = None
    """None where nothing has to be reported."""
    database: str = DEFAULT_DB_ALIAS
    """The alias."""

    @property
    def of_database(self) -> str:
        """The flag that commands need for its database."""
        return "" if self.database == DEFAULT_DB_ALIAS else f" --database {self.database}"
