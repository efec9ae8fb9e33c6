"""``--since``: which pending migrations a branch brings, by git."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from django_confiture.dry_run.results.source_location import source_path
from django_confiture.exceptions import DryRunRefused

if TYPE_CHECKING:
    from django.db.migrations.migration import Migration

    from django_confiture.dry_run.results import Report

Plan = list[tuple["Migration", bool]]


class Since:
    """Tells the branch's migrations from those that its base had already, unchanged.

    What git does not know, such as a migration of an installed package, counts as the branch's:
    it is pending, so something new brought it.
    """

    def __init__(self, revision: str) -> None:
        """Read git's trees; a :class:`DryRunRefused` says what is missing."""
        self.revision = revision
        self._root = Path(os.path.realpath(self._git("rev-parse", "--show-toplevel").strip()))
        base = self._base()
        had = self._git("ls-tree", "-r", "--name-only", "-z", "--full-tree", base)
        changed = self._git("diff", "--name-only", "-z", "--no-renames", "--no-ext-diff", base)
        self._had = set(had.split("\0")) - set(changed.split("\0"))
        self._first: set[str] = set()

    def chosen(self, plan: Sequence[tuple[Migration, bool]]) -> Plan:
        """Return the plan up to the branch's last migration; the rest is not the branch's."""
        if any(backwards for _migration, backwards in plan):
            raise DryRunRefused("--since is for plans that apply migrations; this one undoes some.")
        own = [index for index, (migration, _b) in enumerate(plan) if not self.had(migration)]
        kept = list(plan[: own[-1] + 1]) if own else []
        self._first = {str(each) for each, _backwards in kept if self.had(each)}
        return kept

    def had(self, migration: Migration) -> bool:
        """Return whether the base had a migration, as it is now."""
        module = sys.modules.get(type(migration).__module__)
        path = source_path(module) if module is not None else None
        if path is None:
            return False
        real = Path(os.path.realpath(path))
        return real.is_relative_to(self._root) and (
            real.relative_to(self._root).as_posix() in self._had
        )

    def marked(self, report: Report) -> Report:
        """Return the report with the migrations that only ran first marked as such."""
        migrations = tuple(
            replace(each, rehearsed_first=each.label in self._first) for each in report.migrations
        )
        return replace(report, migrations=migrations, since=self.revision)

    def _base(self) -> str:
        """Return the commit at which the branch left the revision."""
        name = f"{self.revision}^{{commit}}"
        try:
            commit = self._git("rev-parse", "--verify", "--quiet", "--end-of-options", name).strip()
        except DryRunRefused:
            raise DryRunRefused(
                f"--since {self.revision}: git knows no such commit; fetch it first, as with "
                "`git fetch origin main` or, on GitHub, `fetch-depth: 0` of actions/checkout."
            ) from None
        try:
            return self._git("merge-base", commit, "HEAD").strip()
        except DryRunRefused:
            raise DryRunRefused(
                f"--since {self.revision}: it has no commit in common with HEAD; a shallow clone "
                "lacks it: fetch more history, as with `git fetch --unshallow`."
            ) from None

    def _git(self, *arguments: str) -> str:
        try:
            ran = subprocess.run(  # noqa: S603 - a list, no shell; the revision is behind a bar
                ["git", *arguments],  # noqa: S607 - the git on the PATH
                capture_output=True,
                check=False,
            )
        except FileNotFoundError:
            raise DryRunRefused(
                f"--since {self.revision} needs git, which is not on the PATH."
            ) from None
        if ran.returncode:
            said = ran.stderr.decode(errors="replace").strip().splitlines()
            reason = said[0] if said else f"git {arguments[0]} failed"
            raise DryRunRefused(f"--since {self.revision}: {reason}")
        return ran.stdout.decode(errors="surrogateescape")
