"""What the findings need from the catalog, and remember from one migration to the next."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from psycopg.pq import TransactionStatus

from django_confiture import conf
from django_confiture.dry_run.findings import findings_of
from django_confiture.dry_run.findings.code_writes import PlannedCode
from django_confiture.dry_run.findings.existing_shapes import by_statement, other_shapes
from django_confiture.dry_run.findings.hidden_rows import hidden_rows
from django_confiture.dry_run.findings.invalid_indexes import in_the_way
from django_confiture.dry_run.findings.lost_statistics import lost_statistics
from django_confiture.dry_run.findings.made_up_values import shared_values, with_rows
from django_confiture.dry_run.findings.new_foreign_keys import NewForeignKeys
from django_confiture.dry_run.findings.pending_events import pending_events
from django_confiture.dry_run.findings.rows_not_there import rows_not_there
from django_confiture.dry_run.findings.rules.shared_values import message
from django_confiture.dry_run.findings.subject import (
    JudgedStatement,
    PendingEvents,
    SharedValue,
    Subject,
    UncheckedKey,
    filled,
    with_held,
)
from django_confiture.dry_run.findings.unchecked_keys import unchecked_keys
from django_confiture.dry_run.rewriting.known_objects import (
    KNOWS_NOTHING,
    read_for_advice,
    read_partition_indexes,
)
from django_confiture.dry_run.sql.parsing.enums import AlterTableType, ObjectType
from django_confiture.dry_run.sql.parsing.nodes import definition, subcommands
from django_confiture.dry_run.sql.transactions.timeouts import sets_timeout

if TYPE_CHECKING:
    from django_confiture.dry_run.measuring.relations import Catalog
    from django_confiture.dry_run.recording.records import RecordedMigration
    from django_confiture.dry_run.results import Finding, MigrationResult
    from django_confiture.dry_run.results.deploy import StepBreaks
    from django_confiture.dry_run.rewriting.facts import PartitionIndex
    from django_confiture.dry_run.server.side_channel import Session

_TABLES = {"r", "p", "m", "f", "v"}


class PlanHistory:
    """The findings of one dry run, migration by migration."""

    def __init__(
        self,
        session: Session,
        catalog: Catalog,
        *,
        has_lock_timeout: bool,
        recount: Callable[[], None],
        ratio: Callable[[str], float | None] = lambda _relation: None,
    ) -> None:
        """Take ``has_lock_timeout`` where the connection limits the wait for locks by itself.

        ``recount`` takes what was read of rows out of what the next migration is charged.
        ``ratio`` says how many times as many rows a table has in production.
        """
        self._recount = recount
        self._ratio = ratio
        self._session = session
        self._catalog = catalog
        self._relations = {each.shown: each for each in catalog.relations.values()}
        self._kinds = {
            name: each.kind for name, each in self._relations.items() if each.kind in _TABLES
        }
        self._renamed: dict[str, str] = {}
        self._columns: set[tuple[str, str]] = set()
        self._filled: Counter[str] = Counter()
        self._known = KNOWS_NOTHING
        self._expects: Collection[int] | None = ()
        self._new_keys = NewForeignKeys(session)
        self._shared: list[SharedValue] = []
        self._own_since: set[str] = set()
        """The messages about columns whose rows have got a value each since."""
        self._lock_timeout_told = has_lock_timeout or bool(conf.get("MIGRATE")["LOCK_TIMEOUT"])

    def expect(self, tables: Collection[int] | None) -> None:
        """Read what advice may need of these tables, before a plan changes them; None for all.

        A second plan, of a receiver that calls ``migrate``, has all of them read.
        """
        if self._expects is None:
            return
        self._expects = None if self._expects else tables
        with self._session.undone():  # with the locks that it takes on every table
            self._known = read_for_advice(self._session, self._expects)

    def steps(self, recorded: RecordedMigration) -> tuple[JudgedStatement, ...]:
        """Return the statements of a migration that has just been rehearsed, in order."""
        return tuple(with_held(self._steps(recorded)))

    def findings(
        self,
        recorded: RecordedMigration,
        steps: Sequence[JudgedStatement],
        result: MigrationResult,
        breaks: StepBreaks,
    ) -> tuple[Finding, ...]:
        """Return what those statements will do to others."""
        subject = Subject(
            recorded.migration,
            result,
            self._relations,
            tuple(steps),
            frozenset(self._columns),
            Counter(self._filled),
            tuple(self._new_keys.unindexed(steps, forward=recorded.direction == "forward")),
            self._lock_timeout_told
            or any(sets_timeout(step.statement, "lock_timeout") for step in steps),
            breaks.breaks,
            by_statement(other_shapes(self._session, steps)),
            in_the_way(self._session, result.error),
            breaks.tried,
            breaks.regressed,
            known=self._known,
            partition_indexes=self._partition_indexes(steps),
            growth=dict(self._growth(steps)),
            shared=tuple(self._shared_values(steps, result)),
            unchecked=self._unchecked_keys(steps, result),
            pending=self._pending_events(recorded, steps, result),
        )
        found = findings_of(subject)
        self._lock_timeout_told |= any(each.id == "no-lock-timeout" for each in found)
        self._note_columns(steps)
        self._filled += filled(steps)
        self._known = self._known.after(step.statement for step in steps)
        return found

    def notes(
        self, recorded: RecordedMigration, steps: Sequence[JudgedStatement]
    ) -> tuple[str, ...]:
        """Return what to say of rows that were not seen or are not here, and of lost statistics."""
        return (
            *hidden_rows(self._session, steps, self._relations),
            *rows_not_there(self._session, _code(recorded), steps, self._relations, self._recount),
            *lost_statistics(self._session, steps, self._relations),
        )

    def _unchecked_keys(
        self, steps: Sequence[JudgedStatement], result: MigrationResult
    ) -> Sequence[UncheckedKey]:
        if result.error is not None:
            return ()
        found = tuple(unchecked_keys(self._session, steps, self._relations))
        if found and self._session.status == TransactionStatus.INTRANS:
            self._recount()
        return found

    def _pending_events(
        self,
        recorded: RecordedMigration,
        steps: Sequence[JudgedStatement],
        result: MigrationResult,
    ) -> Sequence[PendingEvents]:
        if result.error is not None:
            return ()
        newest = self._new_keys.newest_before
        found = pending_events(self._session, _code(recorded), steps, self._relations, newest)
        return tuple(found)

    def _shared_values(
        self, steps: Iterable[JudgedStatement], result: MigrationResult
    ) -> Iterator[SharedValue]:
        """Yield the new columns whose rows have one value; note which have got their own."""
        last = max((step.id for step in steps), default=0)
        new = [each for step in steps for each in shared_values(step)]
        if result.error is not None:
            failed = result.error.type == "UniqueViolation"
            yield from (each for each in new if failed and each.unique and each.step_id == last)
            return
        if self._session.status not in (TransactionStatus.INTRANS, TransactionStatus.IDLE):
            return
        before, self._shared = self._shared, []
        for each in (with_rows(self._session, known) for known in (*before, *new)):
            if each.rows:
                self._shared.append(each)
            else:
                self._own_since.add(message(each))
        yield from (each for each in self._shared if each.step_id in {e.step_id for e in new})

    def _partition_indexes(
        self, steps: Sequence[JudgedStatement]
    ) -> Mapping[str, Sequence[PartitionIndex]]:
        if all(step.kinds.get(name) != "p" for step in steps for name in step.locks):
            return {}
        if self._session.status not in (TransactionStatus.INTRANS, TransactionStatus.IDLE):
            return {}
        return read_partition_indexes(self._session)

    def _growth(self, steps: Sequence[JudgedStatement]) -> Iterator[tuple[str, float]]:
        """Yield the tables that production has more rows of, and how many times as many."""
        worked_on = {
            *(scan.relation for step in steps for scan in step.result.scans),
            *(write.relation for step in steps for write in step.result.writes),
        }
        for relation in worked_on:
            ratio = self._ratio(relation)
            if ratio is not None and ratio > 1:
                yield relation, ratio

    def settled(self, results: Iterable[MigrationResult]) -> Iterator[MigrationResult]:
        """Yield the results without what a later migration of the plan has mended."""
        for result in results:
            settled = (self._settled(each) for each in result.findings)
            yield replace(result, findings=tuple(each for each in settled if each is not None))

    def _settled(self, finding: Finding) -> Finding | None:
        if finding.message in self._own_since:
            return None
        if finding.id != "foreign-key-without-index":
            return finding
        known = self._new_keys.indexed_since
        left = tuple(each for each in finding.evidence if (finding.relation, each) not in known)
        return replace(finding, evidence=left) if left else None

    def _steps(self, recorded: RecordedMigration) -> Iterator[JudgedStatement]:
        for operation, section in recorded.sections:
            for each in section.statements:
                step = JudgedStatement(
                    None if operation is None else operation.index,
                    None if operation is None else operation.operation,
                    each.statement,
                    each.result,
                    each.runs,
                    each.row_locks,
                    each.truncated,
                    each.columns_gone,
                    dict(self._renamed),
                    self._kinds,
                )
                yield step
                self._note_rename(step)

    def _note_rename(self, step: JudgedStatement) -> None:
        if step.statement.what == "rename_stmt" and step.node.rename_type == ObjectType.TABLE:
            old = step.existing(step.node.relation)
            if old is not None:
                self._renamed[step.node.newname] = old

    def _note_columns(self, steps: Iterable[JudgedStatement]) -> None:
        for step in steps:
            if step.statement.what not in ("alter_table_stmt", "rename_stmt"):
                continue
            table = step.existing(step.node.relation)
            if step.statement.what == "rename_stmt":
                if (table, step.node.subname) in self._columns:
                    self._columns.add((table or "", step.node.newname))
                continue
            for each in subcommands(step.node):
                if table is not None and each.subtype == AlterTableType.AddColumn:
                    self._columns.add((table, definition(each).column_def.colname))


def _code(recorded: RecordedMigration) -> PlannedCode:
    return PlannedCode(recorded.migration.app_label, recorded.direction == "forward")
