"""The outcome of a plan so far: its migrations' results, and an error outside any of them."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from django.db.migrations.migration import Migration

from django_confiture.dry_run.report_builder import failure
from django_confiture.dry_run.results import Failure, MigrationResult

Plan = list[tuple[Migration, bool]]
"""Migrations, each with whether it is undone."""


@dataclass
class PlanOutcome:
    """The outcome of a plan so far."""

    plan: Plan = field(default_factory=list)
    results: list[MigrationResult] = field(default_factory=list)
    error: Failure | None = None
    """One outside any migration."""
    lock_wait_expired: bool = False
    """Whether another session held a lock for longer than the dry run waits."""

    @property
    def failed(self) -> bool:
        """Whether something failed, in a migration or outside any."""
        return self.error is not None or any(each.error is not None for each in self.results)

    def failed_outside(self, error: BaseException, *, waited: str) -> None:
        """Note an error outside any migration; ``waited`` is what a lock timeout gave up on."""
        found = failure(error, None)
        if waited:
            message = f"{found.message}: {waited}"
            found = replace(found, message=message, blames_migration=False)
            self.lock_wait_expired = True
        self.error = found
