"""The observer: told what a dry run is doing, as it does it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from django.db.migrations.migration import Migration

    from django_confiture.dry_run.results import MigrationResult, Preflight, Sampled, Waiter


@dataclass(frozen=True)
class IndexBuild:
    """The progress of an index build."""

    phase: str
    """PostgreSQL's word, such as ``building index: scanning table``."""
    done: int
    total: int
    """Blocks or tuples, by the phase; 0 where it is not known."""


class Observer:
    """Does nothing; subclass it to be notified. Its exceptions are not caught."""

    def planned(self, plan: Sequence[tuple[Migration, bool]]) -> None:
        """Receive the migrations that are about to run, and whether each is unapplied."""

    def preflighted(self, preflight: Preflight) -> None:
        """Receive what the plan is about to touch."""

    def migration_started(self, label: str, *, backwards: bool, number: int, total: int) -> None:
        """Receive the migration that begins, ``app_label.name``, its number, and the total."""

    def operation_started(self, index: int, description: str) -> None:
        """Receive the operation that begins, as it describes itself."""

    def sampled(self, sampled: Sampled | None) -> None:
        """Receive what samples say about the next statement; None if it was not tried on any."""

    def building_index(self, build: IndexBuild | None) -> None:
        """Receive the progress of an index build, if there is one; called in another thread."""

    def waited_for(self, waiters: Sequence[Waiter]) -> None:
        """Receive the sessions waiting for the dry run; called very often, in another thread."""

    def gave_way(self, waiters: Sequence[Waiter]) -> None:
        """Receive the session that waited too long; called at once, in another thread."""

    def migration_finished(self, result: MigrationResult) -> None:
        """Receive the result of the migration."""
