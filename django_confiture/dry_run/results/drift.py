"""How a schema differs from the one that the models would create."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

DriftObject = Literal["table", "column", "index", "constraint"]


@dataclass(frozen=True)
class Difference:
    """One object of a table that is not as the models have it.

    ``database`` and ``models`` are its definitions as PostgreSQL spells them; None where there is
    no such object on that side.
    """

    object: DriftObject
    table: str
    name: str
    database: str | None
    models: str | None
    harmless: bool = False
    """Whether it is an addition that no INSERT, UPDATE or SELECT of the models can meet."""

    @property
    def sentence(self) -> str:
        """The difference in one sentence."""
        what = f"{self.object} {self.name}" if self.object != "table" else f"table {self.table}"
        of = f" of {self.table}" if self.object != "table" else ""
        if self.database is None:
            return f"{what}{of} is missing; the models have {self.models}"
        if self.models is None:
            return f"{what}{of} is in the database alone: {self.database}"
        return f"{what}{of} is {self.database}; the models have {self.models}"
