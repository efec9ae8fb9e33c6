"""Tables that a migration writes and alters in one transaction, where here there was none to write.

PostgreSQL refuses to alter a table of which a foreign key that is checked at the commit has rows to
look at: "cannot ALTER TABLE because it has pending trigger events". Where code finds no row to
write in this database, no event is pending, and the dry run passes.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from typing import TYPE_CHECKING

from django.db.migrations import RunPython
from psycopg.pq import TransactionStatus

from django_confiture.dry_run.findings.code_writes import SENT, CodeWrite, PlannedCode, Written
from django_confiture.dry_run.findings.subject import JudgedStatement, PendingEvents
from django_confiture.dry_run.server.side_channel import array
from django_confiture.dry_run.sql.parsing.enums import ObjectType
from django_confiture.dry_run.sql.parsing.nodes import Node, dropped_relations

if TYPE_CHECKING:
    from django_confiture.dry_run.measuring.relations import Relation
    from django_confiture.dry_run.server.side_channel import Row, Session

_REFUSED = {"alter_table_stmt", "index_stmt", "truncate_stmt", "cluster_stmt", "drop_stmt"}
"""What looks for pending events; renames and SET SCHEMA don't."""

_BITS: Mapping[Written, int] = {"insert": 4, "delete": 8, "update": 16}
"""Of ``pg_trigger.tgtype``."""

# $1: OIDs of tables, $2: the newest constraint before the plan. Gives what the commit has to check:
# table, bits of the events, columns whose change counts (NULL: any), name, whether it is the side
# of a foreign key that refers. A unique constraint has something to look at only where values
# collide.
_DEFERRED = """
SELECT t.tgrelid, t.tgtype, (
    SELECT string_agg(a.attname, ',') FROM pg_catalog.pg_attribute a
    WHERE a.attrelid = t.tgrelid AND a.attnum = ANY (CASE
      WHEN k.contype <> 'f' THEN t.tgattr::pg_catalog.int2[]
      WHEN k.conrelid = t.tgrelid THEN k.conkey ELSE k.confkey END)), k.conname,
  k.contype = 'f' AND k.conrelid = t.tgrelid
FROM pg_catalog.pg_trigger t JOIN pg_catalog.pg_constraint k ON k.oid = t.tgconstraint
WHERE t.tginitdeferred AND t.tgenabled IN ('O', 'A') AND t.tgrelid = ANY ($1)
  AND k.oid <= $2 AND k.contype IN ('f', 't')
"""


@dataclass(frozen=True)
class _Writer:
    """What may write rows of a table: a statement, or the code of an operation."""

    operation: int | None
    """None for a hook around the operations."""
    last: int
    """The id of its last statement."""
    runs: Collection[int]
    """The transactions that it ran in."""
    write: CodeWrite
    table: str | None = None
    """None where only the model is known."""
    before: _Writer | None = None
    """What has updated the table in an operation before it."""


def pending_events(
    session: Session,
    planned: PlannedCode,
    steps: Sequence[JudgedStatement],
    relations: Mapping[str, Relation],
    newest_before: str | None,
) -> Iterator[PendingEvents]:
    """Yield the statements that PostgreSQL refuses where code before them finds rows to write.

    Only constraints count that are as old as ``newest_before``, an OID.
    """
    found = list(_candidates(planned, steps))
    if not found or session.status not in (TransactionStatus.INTRANS, TransactionStatus.IDLE):
        return
    oids = array(sorted({relations[relation].oid for _step, relation, _writer in found}))
    deferred = session.query(_DEFERRED, [oids, newest_before or "0"])
    said = set()
    for step, relation, writer in found:
        rows = (row for row in deferred if row[0] == str(relations[relation].oid))
        names = tuple(sorted({str(row[3]) for row in rows if _fires(row, writer)}))
        writers = tuple(each.operation for each in (writer.before, writer) if each is not None)
        if names and (relation, writers) not in said:
            said.add((relation, writers))
            yield PendingEvents(step.id, relation, writers, names)


def _fires(row: Row, writer: _Writer) -> bool:
    """Return whether a constraint has something to look at once rows are written.

    An update of other columns counts where the row is of the same transaction: then PostgreSQL
    looks at it whatever has changed, on the side of a foreign key that refers.
    """
    _table, bits, columns, _name, refers = row
    write = writer.write
    if not int(bits or 0) & _BITS[write.what]:
        return False
    if write.what != "update" or columns is None:
        return writer.before is None
    names_key = not {write.attribute, f"{write.attribute}_id"}.isdisjoint(columns.split(","))
    return not names_key and refers == "t" if writer.before else names_key


def _candidates(
    planned: PlannedCode, steps: Sequence[JudgedStatement]
) -> Iterator[tuple[JudgedStatement, str, _Writer]]:
    """Yield each statement that looks for pending events with what may have made some before it."""
    altering = [(step, relation) for step in steps for relation in _altered(step)]
    if not altering:
        return
    written = {(step.operation, each.relation) for step in steps for each in step.result.writes}
    writers = [*_statements(steps), *_code(planned, steps)]
    for step, relation in altering:
        mine = [
            writer
            for writer in writers
            if writer.last < step.id
            and not step.runs.keys().isdisjoint(writer.runs)
            and _is_written(relation, writer, step, planned)
            and not _checked(steps, writer, step)
        ]
        for writer in mine:
            if (writer.operation, relation) not in written:
                yield step, relation, writer
                for other in mine:
                    if _updates_before(other, writer):
                        yield step, relation, replace(writer, before=other)


def _updates_before(one: _Writer, other: _Writer) -> bool:
    """Return whether two operations update a table, in this order."""
    updates = one.write.what == other.write.what == "update"
    return updates and one.operation != other.operation and one.last < other.last


def _altered(step: JudgedStatement) -> Iterator[str]:
    """Yield the tables for which a statement looks for pending events."""
    what = step.statement.what
    if what not in _REFUSED or not step.result.executions:
        return
    named: Sequence[Node] = ()
    if what == "truncate_stmt":
        named = [each.range_var for each in step.node.relations]
    elif what == "drop_stmt":
        is_table = step.node.remove_type == ObjectType.TABLE
        named = list(dropped_relations(step.node)) if is_table else ()
    elif what != "index_stmt" or not step.node.concurrent:
        named = [step.node.relation]
    for relation in map(step.existing, named):
        if relation is not None and step.kinds.get(relation) in ("r", "p"):
            yield relation


def _statements(steps: Sequence[JudgedStatement]) -> Iterator[_Writer]:
    """Yield the statements that write rows by their text."""
    for step in steps:
        what = SENT.get(step.statement.what)
        if what is None or not step.result.executions:
            continue
        table = step.existing(step.node.relation)
        targets = step.node.target_list if what == "update" else ()
        for attribute in [each.res_target.name for each in targets] or [""]:
            write = CodeWrite(("", ""), what, attribute)
            yield _Writer(step.operation, step.id, step.runs.keys(), write, table or "")


def _code(planned: PlannedCode, steps: Sequence[JudgedStatement]) -> Iterator[_Writer]:
    """Yield the operations whose code writes rows by its source."""
    sent = [step for step in steps if isinstance(step.django, RunPython)]
    for index, own in groupby(sent, key=lambda step: step.operation):
        mine = list(own)
        operation = mine[0].django
        assert index is not None
        assert isinstance(operation, RunPython)
        runs = {number for step in mine for number in step.runs}
        for write in planned.writes(operation):
            yield _Writer(index, max(step.id for step in mine), runs, write)


def _is_written(
    relation: str, writer: _Writer, step: JudgedStatement, planned: PlannedCode
) -> bool:
    """Return whether a writer writes the table that a statement alters."""
    if writer.table is not None:
        return writer.table == relation
    app_label, model = writer.write.model
    if relation == f"{app_label}_{model}":
        return True
    altered = getattr(step.django, "model_name", getattr(step.django, "name", ""))
    return (app_label, model) == (planned.app_label, str(altered).lower())


def _checked(steps: Sequence[JudgedStatement], writer: _Writer, altering: JudgedStatement) -> bool:
    """Return whether SET CONSTRAINTS ... IMMEDIATE has its writes checked before a statement."""
    sets = [
        step
        for step in steps
        if step.statement.what == "constraints_set_stmt"
        and step.id < altering.id
        and not step.runs.keys().isdisjoint(altering.runs)
    ]
    earlier = [step for step in sets if step.id < writer.last]
    since = [step for step in sets if step.id > writer.last]
    return any(not step.node.deferred for step in (*earlier[-1:], *since))
