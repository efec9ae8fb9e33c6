"""The result of a rewriting: migration files in order, or the reason why there are none."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from django.db.migrations.operations.base import Operation

from django_confiture.dry_run.rewriting.names import suffixed

OF_THIS_FILE = "confiture_definitions_of_this_file"
"""The module of functions and classes that the file itself defines."""


@dataclass(frozen=True)
class NullFill:
    """Rows that get a value where they have none, in batches that commit one by one."""

    app_label: str
    model: str
    field: str
    """Its name, for a foreign key that of its column's attribute."""
    value: object
    """The value, or a function that returns it."""
    hints: Mapping[str, str]
    """For the database routers."""
    own: bool = False
    """Whether the function is called for each row."""


@dataclass(frozen=True)
class Batches:
    """An UPDATE or a DELETE that runs for some keys at a time; each batch commits by itself."""

    statement: str
    """With the placeholders ``%(low)s`` and ``%(high)s``; a percent sign is doubled."""
    table: str
    """Quoted."""
    key: str
    """Its primary key, quoted."""
    reversible: bool = True
    elidable: bool = False
    hints: Mapping[str, object] | None = None


@dataclass(frozen=True)
class NumbersInPlace:
    """An UPDATE that numbers the rows of some pages at a time, in the order in which they lie.

    So does PostgreSQL where it adds such a column.
    """

    statement: str
    """With the placeholders ``%(low)s`` and ``%(high)s``; a percent sign is doubled."""
    table: str
    """Quoted."""
    reversible: bool = True
    elidable: bool = False
    hints: Mapping[str, object] | None = None


@dataclass(frozen=True)
class CodeInBatches:
    """A part of a migration's function, in batches that commit one by one."""

    name: str | None
    """None where there is a way back alone."""
    source: str
    globals: tuple[str, ...]
    """The lines that define what it needs of its module."""
    reversible: bool = True
    back: str | None = None
    """The function, also in ``source``, that takes it back; without one nothing does."""
    elidable: bool = False
    hints: Mapping[str, object] | None = None


Fill = NullFill | Batches | NumbersInPlace | CodeInBatches


@dataclass(frozen=True)
class RewrittenFile:
    """One migration file of a rewriting."""

    what: str
    """What it does, for its name: lower case, with underscores."""
    why: str
    """One line, for the comment above its class."""
    operations: Sequence[Operation] = ()
    atomic: bool = True
    fill: Fill | None = None
    """What is filled before the operations; such a file is not atomic, unless it only goes back."""
    above: str = ""
    """The source of what its operations need; their module is ``OF_THIS_FILE``."""
    next_release: bool = False
    """Whether it has to wait until no code of the release before runs."""
    differs: bool = False
    """Whether it leaves another schema than its models say, until the next release's files."""
    ends_views: bool = False
    """Whether it drops views, so that what follows finds the tables under their names."""


@dataclass(frozen=True)
class RenamedTable:
    """A table that is renamed, or has renamed columns; a view has the old names meanwhile."""

    schema: str
    before: str
    """The table's name before, and the view's."""
    after: str
    columns: tuple[tuple[str, str], ...] = ()
    """New and old name of each renamed column."""

    @property
    def meanwhile(self) -> str:
        """Its name until the next release: where it keeps its own, the view has that."""
        if self.after != self.before:
            return self.after
        return suffixed(self.before, "_renamed")


@dataclass(frozen=True)
class Rewriting:
    """What an operation becomes; the models see the operation itself, in the last file."""

    files: tuple[RewrittenFile, ...]
    renamed: tuple[RenamedTable, ...] = ()
    """The tables that have views under the old names until the next release."""

    @property
    def numbers_rows(self) -> bool:
        """Whether rows get numbers, by the order in which they are filled."""
        return any(isinstance(each.fill, NumbersInPlace) for each in self.files)


@dataclass(frozen=True)
class NotRewritten:
    """Why there is no recipe for an operation."""

    reason: str


class NoRecipe(Exception):  # noqa: N818 - it says that there is none, not that something failed
    """Raised for a statement that no recipe knows; the message is the reason."""
