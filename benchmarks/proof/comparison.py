"""What a dry run said, compared with what really happened."""

from __future__ import annotations

import re
import statistics
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from projects import Project

MODES = (
    "AccessShareLock",
    "RowShareLock",
    "RowExclusiveLock",
    "ShareUpdateExclusiveLock",
    "ShareLock",
    "ShareRowExclusiveLock",
    "ExclusiveLock",
    "AccessExclusiveLock",
)
_BLOCKING = MODES.index("ShareUpdateExclusiveLock")
_TOO_SHORT_MS = 10.0
"""Durations below say more about the machine than about the migration."""


@dataclass(frozen=True)
class Comparison:
    """The row of one project, and all that differs."""

    project: Project
    prepared: dict[str, Any]
    verdict: str
    tables: int
    locks: int
    breaks: int
    forecasts: int
    in_range: int
    median_error_percent: float | None
    dry_seconds: float
    real_seconds: float
    differences: tuple[str, ...]

    @property
    def unexplained(self) -> tuple[str, ...]:
        """The differences of which the cause is not known: the proof fails."""
        return tuple(each for each in self.differences if self.project.reason(each) is None)

    def text(self) -> str:
        """Return it for a terminal."""
        facts = (
            f"{self.project.name}: {self.prepared['applied']} migrations applied, "
            f"{self.prepared['pending']} to come, {self.verdict}; {self.tables} tables, "
            f"{self.locks} locks, {self.breaks} breaks of running code, {self.in_range} of "
            f"{self.forecasts} durations in their range; {len(self.differences)} differences, "
            f"{len(self.unexplained)} unexplained"
        )
        return "\n  ".join([facts, *self.differences])


def compare(
    project: Project,
    prepared: dict[str, Any],
    dry: dict[str, Any],
    real: dict[str, Any],
    *,
    untouched: bool,
) -> Comparison:
    """Compare the two runs of a project."""
    report = dry["report"]
    locks, lock_differences = _locks(report, real)
    breaks, break_differences = _breaks(report, real)
    durations = list(_durations(report, real))
    errors = [abs(expected / took - 1) * 100 for _low, expected, _high, took in durations]
    differences = [
        *_outcome(report, real),
        *([] if untouched else ["the dry run left something behind"]),
        *_lines("schema", dry.get("schema", []), real.get("schema", [])),
        *_rows(dry.get("rows", {}), real.get("rows", {})),
        *lock_differences,
        *break_differences,
        *_drift(real["drift"]),
    ]
    return Comparison(
        project,
        prepared,
        verdict(report),
        len(real.get("rows", {})),
        locks,
        breaks,
        len(durations),
        sum(low <= took <= high for low, _expected, high, took in durations),
        statistics.median(errors) if errors else None,
        dry["seconds"],
        real["seconds"],
        tuple(differences),
    )


def _outcome(report: dict[str, Any], real: dict[str, Any]) -> Iterator[str]:
    said = verdict(report)
    really = f"failed at {real['failed_at']}" if real["error"] else "passed"
    if said != really:
        yield f"outcome: dry run {said}, really {really} {real['error']}".rstrip()


def verdict(report: dict[str, Any]) -> str:
    """Return the outcome, with the migration that failed."""
    failed = [
        f"{each['app_label']}.{each['name']}"
        for each in report["migrations"]
        if each["outcome"] == "failed"
    ]
    return " ".join([report["outcome"], *(f"at {label}" for label in failed[:1])])


def _lines(what: str, dry: list[str], real: list[str]) -> Iterator[str]:
    for line in sorted({*dry} ^ {*real}):
        yield f"{what}, only {'in the dry run' if line in dry else 'really'}: {line}"


def _drift(found: list[dict[str, Any]]) -> Iterator[str]:
    for each in found:
        where = ".".join(filter(None, (each["table"], each["name"])))
        sides = f"database {each['database']}, models {each['models']}"
        yield f"drift: {each['object']} {where}: {sides}"


def _rows(dry: dict[str, Any], real: dict[str, Any]) -> Iterator[str]:
    for table in sorted(dry.keys() | real.keys()):
        if dry.get(table) != real.get(table) and table != "django_migrations":
            yield f"rows of {table}: dry run {dry.get(table)}, really {real.get(table)}"


def _locks(report: dict[str, Any], real: dict[str, Any]) -> tuple[int, list[str]]:
    """Return how many locks that block others are equal, and the others."""
    equal, found = 0, []
    for migration in report["migrations"]:
        label = f"{migration['app_label']}.{migration['name']}"
        if label in real["without_transaction"] or label not in real["locks"]:
            continue
        said = {
            each["relation"]: MODES.index(each["strongest_lock"]) for each in migration["tables"]
        }
        held = {
            table: max(map(MODES.index, modes)) for table, modes in real["locks"][label].items()
        }
        for table in sorted((said.keys() | held.keys()) - {"django_migrations"}):
            pair = said.get(table, 0), held.get(table, 0)
            if max(pair) < _BLOCKING:
                continue
            equal += pair[0] == pair[1]
            if pair[0] != pair[1]:
                found.append(
                    f"lock of {label} on {table}: dry run {MODES[pair[0]]}, really {MODES[pair[1]]}"
                )
    return equal, found


_Key = tuple[str, str]
"""A table and an action."""


def _breaks(report: dict[str, Any], real: dict[str, Any]) -> tuple[int, list[str]]:
    """Return how many breaks are real, and those that are not, or that were missed."""
    old, new = real["before"]["old"], real["before"]["new"]
    # What fails in the same way in both releases is not the deploy's fault.
    worked = {
        table: {
            action: error if old.get(table, {}).get(action) == error else ""
            for action, error in actions.items()
        }
        for table, actions in new.items()
    }
    untold = set(_not_checked(report, real["labels"]))
    equal, found = 0, []
    for release, before, steps in (("old", old, real["after"]), ("new", worked, {"": new})):
        really, tried = _broken(before, steps)
        said: dict[_Key, str] = {}
        for each in report["deploy"][f"{release}_code"]:
            said.setdefault((each["table"], each["action"]), each["migration"] or "")
        both = sorted(said.keys() & really.keys())
        equal += sum(said[key] == really[key][0] for key in both)
        found += [
            f"{release} release, missed: {action} of {table}: {' '.join(really[table, action])}"
            for table, action in sorted(really.keys() - said.keys() - untold)
        ]
        found += [
            f"{release} release, not so: {action} of {table}"
            for table, action in sorted(said.keys() & tried - really.keys())
        ]
        found += [
            f"{release} release, {action} of {table}: said after {said[table, action]}, "
            f"really after {' '.join(really[table, action])}"
            for table, action in both
            if said[table, action] != really[table, action][0]
        ]
    return equal, found


def _broken(
    before: dict[str, Any], steps: dict[str, Any]
) -> tuple[dict[_Key, tuple[str, str]], set[_Key]]:
    """Return what worked before and fails after a step: the first one, and its error.

    With it, all that worked before and was tried again.
    """
    broken: dict[_Key, tuple[str, str]] = {}
    tried: set[_Key] = set()
    for migration, after in steps.items():
        for table, actions in after.items():
            for action, error in actions.items():
                if before.get(table, {}).get(action) != "":
                    continue
                tried.add((table, action))
                if error:
                    broken.setdefault((table, action), (migration, error))
    return broken, tried


def _not_checked(report: dict[str, Any], labels: dict[str, str]) -> Iterator[tuple[str, str]]:
    """Yield the tables and actions of which the report says that they were not tried."""
    for text in report["deploy"]["not_checked"]:
        if found := re.match(r"(\w+) of ([\w.]+): ", text):
            yield labels.get(found[2], found[2]), found[1].lower()


def _durations(
    report: dict[str, Any], real: dict[str, Any]
) -> Iterator[tuple[float, float, float, float]]:
    """Yield low, expected, high and what a migration took, in ms."""
    for migration in report["migrations"]:
        took = real["durations"].get(f"{migration['app_label']}.{migration['name']}")
        estimate = migration["estimate"]
        if took is not None and estimate is not None and took >= _TOO_SHORT_MS:
            yield estimate["low_ms"], estimate["expected_ms"], estimate["high_ms"], took
