"""PostgreSQL's counters of one relation and one index, as one session sees them."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Counters:
    """This session's counters for one relation: scans, and rows read or written."""

    scans: int = 0
    returned: int = 0
    inserted: int = 0
    updated: int = 0
    deleted: int = 0
    fetched: int = 0
    """Rows that bitmaps of indexes led to."""

    @property
    def new_versions(self) -> int:
        """How many versions of rows were written."""
        return self.inserted + self.updated

    def since(self, before: Counters) -> Counters:
        """Return the difference to an earlier reading."""
        return Counters(
            self.scans - before.scans,
            self.returned - before.returned,
            self.inserted - before.inserted,
            self.updated - before.updated,
            self.deleted - before.deleted,
            self.fetched - before.fetched,
        )


@dataclass(frozen=True, slots=True)
class IndexCounters:
    """This session's counters for one index."""

    unique: bool
    descents: int = 0
    """How often it was entered to look for a key, or for where to begin."""
    entries: int = 0
    """Entries read, including entries of dead rows."""
    fetched: int = 0
    """Live rows that were then looked at in the table itself."""

    def since(self, before: IndexCounters) -> IndexCounters:
        """Return the difference to an earlier reading."""
        return IndexCounters(
            self.unique,
            self.descents - before.descents,
            self.entries - before.entries,
            self.fetched - before.fetched,
        )
