"""Both releases along a plan."""

from __future__ import annotations

from collections.abc import Collection, Set
from datetime import timedelta

from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.migrations.state import ProjectState

from django_confiture.dry_run.results.deploy import Break, Checked, Deploy
from django_confiture.dry_run.running_code.models import release_of
from django_confiture.dry_run.running_code.releases import (
    TIMEOUT,
    Happened,
    NewCode,
    RunningCode,
    Tools,
)


class ReleaseWatch:
    """Tries the running code and the new one at the moments that its caller names."""

    def __init__(
        self,
        wrapper: BaseDatabaseWrapper,
        old: ProjectState,
        new: ProjectState,
        *,
        timeout: timedelta = TIMEOUT,
    ) -> None:
        self._tools = Tools(wrapper, timeout)
        self._old = RunningCode(self._tools, release_of(old, wrapper))
        self._new = NewCode(self._tools, release_of(new, wrapper))

    def plan_started(self, tables: Collection[str]) -> None:
        """Try both before the plan; ``tables`` are those that it touches, as Django names them."""
        touched = frozenset(tables)
        self._old.start(touched)
        self._new.start(touched)

    def applied(self, happened: Happened, tables: Set[str] | None = None) -> list[Break]:
        """Try the running code after a migration, or an operation, that touches ``tables``."""
        return self._old.after(happened, tables)

    def plan_ended(self) -> Deploy:
        """Return what was found."""
        new = self._new.end()
        return Deploy(
            old_code=self._old.breaks,
            new_code=new,
            checked=Checked(models=len(self._old.models | self._new.models)),
            not_checked=(*self._old.not_checked, *self._new.not_checked),
        )
