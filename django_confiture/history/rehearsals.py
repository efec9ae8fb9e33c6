"""What the ledger's dry runs say of one migration, and of one plan."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from django.db import router
from django.db.migrations.recorder import MigrationRecorder
from django.utils import timezone

from django_confiture.history.hash_chain import DRY_RUNS, is_intact
from django_confiture.history.models import DryRun
from django_confiture.history.plan_fingerprint import fingerprint_of
from django_confiture.migrate.known_forecasts import table_exists
from django_confiture.migration_files import has_changed

if TYPE_CHECKING:
    from django.db.backends.base.base import BaseDatabaseWrapper

_LOOKED_AT = 50
"""At most this many dry runs of a migration are read, the newest ones."""


def last_rehearsal(database: str, label: str, direction: str) -> Mapping[str, Any] | None:
    """Return one migration of the newest dry run that has it and passed, as its report's JSON.

    A dry run of a file that has changed since doesn't count.
    """
    for row in _dry_runs(database, label):
        if has_changed(label, direction, row.plan):
            continue
        for each in json.loads(row.report)["migrations"] if row.report else ():
            if (
                f"{each['app_label']}.{each['name']}" == label
                and each["direction"] == direction
                and each["outcome"] == "passed"
            ):
                found: Mapping[str, Any] = each
                return found
    return None


def why_not_rehearsed(
    connection: BaseDatabaseWrapper,
    plan: Sequence[tuple[str, str]],
    *,
    database: str,
    younger_than: timedelta,
) -> str:
    """Return why no dry run of ``database`` covers the rest of a plan; ``""`` if one does.

    ``plan`` has labels and directions. A dry run counts if it passed, is young enough, and had the
    same sources, settings and migrations; those that it rehearsed before them must be done by now.
    """
    wanted = fingerprint_of(plan)
    if not wanted:
        return "the source of a planned migration can't be read, so nothing proves it the same"
    rows = _dry_runs(database, plan[0][0])
    reasons = [_why_not(connection, row, wanted, younger_than) for row in rows]
    if not reasons:
        return f"no dry run of {database!r} has rehearsed {plan[0][0]}"
    return "" if "" in reasons else reasons[0]


def _why_not(
    connection: BaseDatabaseWrapper,
    row: DryRun,
    wanted: Mapping[str, Any],
    younger_than: timedelta,
) -> str:
    age = timezone.now() - row.made_at
    this = f"dry run {row.number}"
    if not is_intact(DRY_RUNS, row):
        return f"{this} was changed in the ledger"
    if row.verdict != "passed":
        return f"{this}, the last one, has the verdict {row.verdict!r}"
    if not row.plan:
        return f"{this} was made before plans were recorded"
    if row.plan["settings"] != wanted["settings"]:
        return f"the settings have changed since {this}"
    done, mine = _split(row.plan["migrations"], wanted["migrations"])
    pairs = zip(wanted["migrations"], mine, strict=False)
    changed = [now[0] for now, then in pairs if now[:2] == then[:2] and now != then]
    if changed:
        return f"the source of {changed[0]} has changed since {this}"
    if mine != wanted["migrations"]:
        return f"{this} rehearsed another plan: {_listed(row.plan['migrations'])}"
    if open_ones := _not_done(connection, done):
        return f"{this} rehearsed {open_ones[0]} before it, which is not applied yet"
    if age > younger_than:
        return f"{this} is {age.total_seconds() / 3600:.1f} h old"
    return ""


def _split(
    rehearsed: Sequence[Sequence[str]], wanted: Sequence[Sequence[str]]
) -> tuple[list[list[str]], list[list[str]]]:
    """Return what a dry run did before the first wanted migration, and from there on."""
    labels = [label for label, *_ in rehearsed]
    start = labels.index(wanted[0][0])
    as_lists = [list(each) for each in rehearsed]
    return as_lists[:start], as_lists[start:]


def _not_done(connection: BaseDatabaseWrapper, done: Sequence[Sequence[str]]) -> list[str]:
    applied = MigrationRecorder(connection).applied_migrations()
    return [
        label
        for label, direction, _digest in done
        if (tuple(label.split(".", 1)) in applied) is not (direction == "forward")
    ]


def _dry_runs(database: str, label: str) -> list[DryRun]:
    """Return the dry runs that had a migration in their plan, the newest first."""
    alias = router.db_for_read(DryRun)
    if not table_exists(DryRun, alias):
        return []
    rows = DryRun.objects.using(alias).filter(database=database, migrations__contains=label)
    newest = rows.order_by("-number").prefetch_related("forecasts")[:_LOOKED_AT]
    return [row for row in newest if label in row.migrations.splitlines()]


def _listed(plan: Sequence[Sequence[str]]) -> str:
    return ", ".join(label for label, *_ in plan)
