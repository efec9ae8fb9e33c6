"""Compares the rehearsals of the original migration and of the files that replace it."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import TypeVar

from django_confiture.dry_run.results import Finding, Report
from django_confiture.dry_run.results.deploy import Break
from django_confiture.dry_run.rewriting.names import suffixed
from django_confiture.fix.outcomes import Proof
from django_confiture.fix.rehearsals.models_compared import different_models
from django_confiture.fix.rehearsals.rehearsing import Ending, Reached

_Key = TypeVar("_Key")
_MADE = ("constraint", "index")
_INTEGRITY = "23"
"""The class of the SQLSTATEs of constraints that rows break."""


def proof_of(original: Ending, fixed: Ending, *, names: Collection[str], mended: int) -> Proof:
    """Return the proof; ``mended`` dangers should be gone, ``names`` are the files' migrations."""
    assert original.reached is not None  # else nothing is fixed
    before, after = original.report, fixed.report
    name = before.migrations[-1].name
    there = fixed.reached
    dangers = _count_dangers(before, {name})
    return Proof(
        schema_equal=there is not None and there.schema == original.reached.schema,
        state_equal=there is not None
        and not [*different_models(original.reached.state, there.state)],
        rows_equal=there is not None and there.rows == original.reached.rows,
        dangers_before=dangers,
        dangers_after=_count_dangers(after, names),
        dangers_left_to_expect=dangers - mended,
        blocked_ms_before=_blocked_ms(before, {name}),
        blocked_ms_after=_blocked_ms(after, names),
        running_code_breaks_before=len(breaks_of(before)),
        running_code_breaks_after=len(breaks_of(after)),
        reversible=there is not None and (there.taken_back or not original.reached.taken_back),
        differences=tuple(
            _differences(original.reached, there)
            if there is not None
            else [f"the files fail: {fixed.why_failed}"]
        ),
    )


def dangers_of(report: Report, names: Collection[str]) -> Iterator[tuple[str, Finding]]:
    """Yield the dangers of the migrations of some names, with the migration's name."""
    for migration in report.migrations:
        if migration.name in names and migration.direction == "forward":
            for finding in migration.findings:
                # What breaks running code is counted by itself.
                dangerous = finding.severity == "danger" and finding.id != "running-code-breaks"
                if dangerous and finding.silenced is None:
                    yield migration.name, finding


def _count_dangers(report: Report, names: Collection[str]) -> int:
    return len([*dangers_of(report, names)])


def _blocked_ms(report: Report, names: Collection[str]) -> float:
    """Return for how long the migration that blocks the longest blocks a table."""
    return max(
        (
            max(table.reads_blocked_ms, table.writes_blocked_ms)
            for migration in report.migrations
            if migration.name in names and migration.direction == "forward"
            for table in migration.tables
        ),
        default=0.0,
    )


def breaks_of(report: Report) -> set[tuple[str | None, str]]:
    """Return the actions on models that the running code loses."""
    return actions_of(report.deploy.old_code)


def actions_of(broken: Iterable[Break]) -> set[tuple[str | None, str]]:
    """Return the actions on models that are lost."""
    return {(each.model, each.action) for each in broken}


def made_by_both(broken: Iterable[Break], original: Ending) -> Iterator[Break]:
    """Yield what the files break by constraints that the original makes, too.

    In a rehearsal of the original there may have been no row to show it.
    """
    assert original.reached is not None
    known = original.reached.known
    before = {*(name for _table, name in known.constraints), *known.indexes}
    made = {name for kind, _table, name in original.reached.schema if kind in _MADE} - before
    # Those of a column's new form have other names until they take the old ones' place.
    names = [f'"{each}"' for name in made for each in (name, suffixed(name, "_new"))]
    for each in broken:
        by_constraint = (each.sqlstate or "").startswith(_INTEGRITY)
        if by_constraint and any(name in each.error for name in names):
            yield each


def _differences(original: Reached, fixed: Reached) -> Iterator[str]:
    for (kind, table, name), was, now in _unequal(original.schema, fixed.schema):
        where = f" of {table}" if table and table != name else ""
        yield f"{kind} {name}{where}: {was or 'none'} originally, {now or 'none'} with the files"
    for (table, _column), _was, _now in _unequal(original.rows, fixed.rows):
        yield f"the rows of {table} differ"
    for name in different_models(original.state, fixed.state):
        yield f"the model {name} differs in the migrations' state"


def _unequal(
    one: Mapping[_Key, object], other: Mapping[_Key, object]
) -> Iterator[tuple[_Key, object, object]]:
    for key in [*one, *(key for key in other if key not in one)]:
        was, now = one.get(key), other.get(key)
        if was != now:
            yield key, was, now
