"""What passed because there was no row to check or to write, which says nothing of production's."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import groupby
from typing import TYPE_CHECKING

from django.db.migrations import RunPython, RunSQL
from psycopg.pq import TransactionStatus

from django_confiture.dry_run.findings.code_writes import SENT, PlannedCode
from django_confiture.dry_run.findings.subject import JudgedStatement
from django_confiture.dry_run.measuring.emptied import without_rows
from django_confiture.dry_run.sql.parsing.enums import AlterTableType
from django_confiture.dry_run.sql.parsing.nodes import subcommands
from django_confiture.dry_run.sql.parsing.parser import Kind
from django_confiture.formatting import listed

if TYPE_CHECKING:
    from django_confiture.dry_run.measuring.relations import Relation
    from django_confiture.dry_run.server.side_channel import Session


def rows_not_there(
    session: Session,
    planned: PlannedCode,
    steps: Sequence[JudgedStatement],
    relations: Mapping[str, Relation],
    recount: Callable[[], None],
) -> Iterator[str]:
    """Yield what to say of tables and operations for which there were no rows here.

    ``recount`` takes what is read for that out of what the next migration is charged.
    """
    empty, asked = _empty_tables(steps)
    if asked and session.status in (TransactionStatus.INTRANS, TransactionStatus.IDLE):
        oids = without_rows([relations[table] for table in asked], session)
        empty |= {table for table in asked if relations[table].oid in oids}
        if session.status == TransactionStatus.INTRANS:
            recount()
    if empty:
        yield (
            f"No rows here in {listed(sorted(empty))}: whether production's rows pass what is "
            "checked was not seen."
        )
    idle = [str(each + 1) for each in _idle_operations(planned, steps)]
    if idle:
        yield (
            f"Operation{'s' if len(idle) > 1 else ''} {listed(idle)} found no row to write here: "
            "what happens to rows, and how long it takes, was not seen."
        )


def _empty_tables(steps: Sequence[JudgedStatement]) -> tuple[set[str], set[str]]:
    """Return the tables of which a statement has checked every row, and there was none.

    And those of which it is not known: what builds an index does not count what it reads.
    """
    checked = [(step, table) for step in steps if (table := _checks(step)) is not None]
    full = {write.relation for step in steps for write in step.result.writes}
    full |= {scan.relation for step in steps for scan in step.result.scans if scan.rows}
    empty = {table for step, table in checked if step.scanned.get(table) == 0} - full
    unknown = {table for step, table in checked if step.scanned.get(table, 0) is None}
    return empty, unknown - full - empty


def _checks(step: JudgedStatement) -> str | None:
    """Return the table whose rows may make a statement fail."""
    if step.statement.what == "index_stmt":
        return step.existing(step.node.relation) if step.node.unique else None
    if step.statement.what != "alter_table_stmt":
        return None
    kinds = {each.subtype for each in subcommands(step.node)}
    retypes = step.result.rewrites and AlterTableType.AlterColumnType in kinds
    # NOT NULL is a constraint of the catalog from PostgreSQL 18 on.
    checks = step.result.constraints or retypes or AlterTableType.SetNotNull in kinds
    return step.existing(step.node.relation) if checks else None


def _idle_operations(planned: PlannedCode, steps: Sequence[JudgedStatement]) -> Iterator[int]:
    """Yield the operations that write rows of tables that were there, and found none to write."""
    sent = [step for step in steps if isinstance(step.django, RunPython | RunSQL)]
    for index, grouped in groupby(sent, key=lambda step: step.operation):
        own = list(grouped)
        if index is None or any(
            step.statement.kind not in (Kind.DML, Kind.SELECT, Kind.SAVEPOINT, Kind.QUIET)
            or step.result.rows_written
            or step.result.writes
            for step in own
        ):
            continue
        if any(step.locks for step in own) and _would_write(planned, own):
            yield index


def _would_write(planned: PlannedCode, own: Sequence[JudgedStatement]) -> bool:
    if any(step.statement.what in SENT and step.result.executions for step in own):
        return True
    operation = own[0].django
    return isinstance(operation, RunPython) and bool(planned.writes(operation))
