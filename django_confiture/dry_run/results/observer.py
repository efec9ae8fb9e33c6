"""Who watches a dry run while it runs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from django.db.migrations.migration import Migration

    from django_confiture.dry_run.results import MigrationResult, Preflight, Sampled, Waiter


@dataclass(frozen=True)
class IndexBuild:
    """How far an index is that is being built."""

    phase: str
    """PostgreSQL's word, such as ``building index: scanning table``."""
    done: int
    total: int
    """Blocks or tuples, by the phase; 0 where it is not known."""


class Observer:
    """Does nothing; subclass it to be told. Nothing that it raises is caught."""

    def planned(self, plan: Sequence[tuple[Migration, bool]]) -> None:
        """Take the migrations that are about to run, and whether backwards."""

    def preflighted(self, preflight: Preflight) -> None:
        """Take what the plan is about to touch."""

    def migration_started(self, label: str, *, backwards: bool, number: int, total: int) -> None:
        """Take the migration that begins, ``app_label.name``, and which of how many it is."""

    def operation_started(self, index: int, description: str) -> None:
        """Take the operation of that migration that begins, as it describes itself."""

    def sampled(self, sampled: Sampled | None) -> None:
        """Take what samples say of the statement that begins; None where it was not tried."""

    def building_index(self, build: IndexBuild | None) -> None:
        """Take how far the index is that is being built, if one is; in another thread."""

    def waited_for(self, waiters: Sequence[Waiter]) -> None:
        """Take who waits for the dry run right now, if anybody; in another thread, very often."""

    def gave_way(self, waiters: Sequence[Waiter]) -> None:
        """Take who has waited for too long; called in another thread, at once."""

    def migration_finished(self, result: MigrationResult) -> None:
        """Take what it did."""
