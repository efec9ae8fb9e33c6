"""Fix one migration: rehearse it, rewrite its operations, rehearse what came of it, compare."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from django.db import router
from django.db.migrations.executor import MigrationExecutor
from django.db.migrations.migration import Migration

from django_confiture.dry_run.findings.advice.of_operations import SOLVED
from django_confiture.dry_run.results import Finding, OperationResult
from django_confiture.dry_run.rewriting.files import NotRewritten, Rewriting
from django_confiture.dry_run.rewriting.recipes import rewriting_of
from django_confiture.dry_run.sql.parser import Kind, Statement, parse
from django_confiture.fix.obstacles import obstacles
from django_confiture.fix.outcomes import Fix, FixedFile, OperationOutcome
from django_confiture.fix.proof import proof_of
from django_confiture.fix.proposal import proposed_files
from django_confiture.fix.rehearsing import Ending, rehearsed

if TYPE_CHECKING:
    from django.db.backends.base.base import BaseDatabaseWrapper


def fix_migration(
    wrapper: BaseDatabaseWrapper, key: tuple[str, str], *, applied_elsewhere: bool
) -> Fix:
    """Return what becomes of a pending migration, with the proof where something is fixed."""
    migration, missing = _pending(wrapper, key)
    label = ".".join(key)
    if reasons := list(obstacles(migration, applied_elsewhere=applied_elsewhere)):
        return Fix(label, tuple(_all_refused(migration, "; ".join(reasons))))
    original = rehearsed(wrapper, [migration], missing=missing)
    if original.reached is None:
        return Fix(label, tuple(_all_refused(migration, f"it fails: {original.why_failed}")))
    judged = list(_judged(migration, original))
    operations = tuple(each.outcome for each in judged)
    rewritings = {e.outcome.index: e.rewriting for e in judged if e.rewriting is not None}
    if not rewritings:
        return Fix(label, operations)
    try:
        files = proposed_files(migration, rewritings)
    except ValueError as error:  # what Django's writer can't write
        return Fix(label, tuple(_all_refused(migration, f"it can't be written: {error}")))
    return _proven(wrapper, label, original, _Proposed(operations, files, _mended(judged)))


@dataclass(frozen=True)
class _Judged:
    outcome: OperationOutcome
    rewriting: Rewriting | None
    dangers: int


@dataclass(frozen=True)
class _Proposed:
    operations: tuple[OperationOutcome, ...]
    files: tuple[FixedFile, ...]
    mended: int
    """How many dangers the files should leave out."""


def _proven(wrapper: BaseDatabaseWrapper, label: str, original: Ending, new: _Proposed) -> Fix:
    assert original.reached is not None
    app_label, _, name = label.partition(".")
    _migration, missing = _pending(wrapper, (app_label, name))
    written = [_loaded(app_label, each) for each in new.files]
    fixed = rehearsed(wrapper, written, missing=missing, rows_of=original.reached.rows)
    names = {each.name for each in new.files}
    proof = proof_of(original, fixed, names=names, mended=new.mended)
    return Fix(label, new.operations, new.files, proof)


def _pending(
    wrapper: BaseDatabaseWrapper, key: tuple[str, str]
) -> tuple[Migration, Sequence[Migration]]:
    """Return new instances of a migration, and of the unapplied ones that it depends on."""
    executor = MigrationExecutor(wrapper)
    plan = [each for each, _backwards in executor.migration_plan([key])]
    own = executor.loader.graph.nodes[key]
    return own, [each for each in plan if each is not own]


def _loaded(app_label: str, file: FixedFile) -> Migration:
    """Return the migration of a source that is in no file yet."""
    names: dict[str, type[Migration]] = {}
    exec(compile(file.source, f"{file.name}.py", "exec"), names)  # noqa: S102 - our own source
    return names["Migration"](file.name, app_label)


def _all_refused(migration: Migration, reason: str) -> Iterator[OperationOutcome]:
    for index, each in enumerate(migration.operations):
        yield OperationOutcome(index, each.describe(), None, "refused", reason)


def _mended(judged: Sequence[_Judged]) -> int:
    return sum(each.dangers for each in judged if each.rewriting is not None)


def _judged(migration: Migration, original: Ending) -> Iterator[_Judged]:
    result = original.report.migrations[-1]
    for operation in result.operations:
        found = [each for each in result.findings if each.operation == operation.index]
        yield _judged_operation(migration, operation, found, original)


def _judged_operation(
    migration: Migration, operation: OperationResult, found: Sequence[Finding], original: Ending
) -> _Judged:
    def outcome(what: str, about: Finding | None, reason: str | None) -> OperationOutcome:
        name = about.id if about is not None else None
        return OperationOutcome(operation.index, operation.description, name, what, reason)  # type: ignore[arg-type]

    open_ones = [each for each in found if each.silenced is None]
    to_mend = [each for each in open_ones if each.id in SOLVED]
    dangers = [each for each in open_ones if each.severity == "danger"]
    if not to_mend:
        if dangers:
            words = " ".join(line.lstrip("# ") for line in dangers[0].advice.splitlines())
            return _Judged(outcome("refused", dangers[0], words), None, 0)
        silenced = next((each for each in found if each.silenced is not None), None)
        reason = f"silenced: {silenced.silenced}" if silenced is not None else None
        return _Judged(outcome("kept", silenced, reason), None, 0)
    new = _rewriting(migration, operation, original)
    if isinstance(new, NotRewritten):
        return _Judged(outcome("refused", to_mend[0], new.reason), None, 0)
    mended = [each for each in dangers if each.id in SOLVED]
    return _Judged(outcome("fixed", to_mend[0], None), new, len(mended))


def _rewriting(
    migration: Migration, operation: OperationResult, original: Ending
) -> Rewriting | NotRewritten:
    assert original.reached is not None
    locked = {
        lock.relation.rpartition(".")[2] for each in operation.statements for lock in each.locks
    }
    return rewriting_of(
        migration.operations[operation.index],
        list(_statements(operation)),
        app_label=migration.app_label,
        partitioned=not locked.isdisjoint(original.reached.partitioned),
        routed=bool(router.routers),
    )


def _statements(operation: OperationResult) -> Iterator[Statement]:
    """Yield the statements of an operation; a query with placeholders may be no plain SQL."""
    for each in operation.statements:
        for statement in parse(each.sql, placeholders=False):
            if statement.kind is not Kind.UNPARSED or statement.command != "SELECT":
                yield statement
