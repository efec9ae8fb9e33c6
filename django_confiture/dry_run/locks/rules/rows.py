"""What writing rows locks through foreign keys."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Mapping

from django_confiture.dry_run.locks.catalog import ForeignKey, Lookup
from django_confiture.dry_run.locks.modes import LockMode
from django_confiture.dry_run.locks.rules.base import Lock
from django_confiture.dry_run.sql.parsing.enums import CmdType
from django_confiture.dry_run.sql.parsing.nodes import Node, node_tag

_WRITING_ACTIONS = "cnd"
"""``confdeltype`` and ``confupdtype``: CASCADE, SET NULL, SET DEFAULT."""

_MERGE_ACTIONS: Mapping[int, str] = {
    CmdType.INSERT: "insert",
    CmdType.UPDATE: "update",
    CmdType.DELETE: "delete",
}


@dataclasses.dataclass(frozen=True, slots=True)
class Write:
    """What is done to the rows of a table."""

    kind: str
    """``insert``, ``update`` or ``delete``."""
    columns: frozenset[str] | None = None
    """The columns that are written; None for all."""

    def touches(self, columns: frozenset[str]) -> bool:
        """Return whether one of the columns is written."""
        return self.columns is None or not self.columns.isdisjoint(columns)


def writes_of(node: Node) -> Iterator[Write]:
    """Yield what an INSERT, UPDATE, DELETE or MERGE does to its target."""
    match node_tag(node):
        case "InsertStmt":
            yield Write("insert", _target_columns(node.cols) if node.cols else None)
        case "UpdateStmt":
            yield Write("update", _target_columns(node.target_list))
        case "DeleteStmt":
            yield Write("delete")
        case "MergeStmt":
            for clause in (item.merge_when_clause for item in node.merge_when_clauses):
                if clause.command_type in _MERGE_ACTIONS:
                    columns = _target_columns(clause.target_list) or None
                    yield Write(_MERGE_ACTIONS[clause.command_type], columns)


def _target_columns(targets: Iterable[Node]) -> frozenset[str]:
    return frozenset(target.res_target.name for target in targets)


def foreign_key_locks(table: int, write: Write, lookup: Lookup) -> Iterator[Lock]:
    """Yield what the checks and actions of immediate foreign keys lock, if rows are written.

    Deferred checks lock at COMMIT or SET CONSTRAINTS, no more than ROW SHARE. One query for the
    table and one for each that a CASCADE reaches.
    """
    waiting = [(table, write)]
    done: set[tuple[int, Write]] = set()
    while waiting:
        step = waiting.pop()
        if step in done:
            continue
        done.add(step)
        for key in lookup.foreign_keys([step[0]]):
            yield from _checks(key, *step)
            effect = _effect(key, *step)
            if effect is not None:
                yield Lock(key.table, LockMode.RowExclusiveLock)
                waiting.append((key.table, effect))


def _checks(key: ForeignKey, table: int, write: Write) -> Iterator[Lock]:
    """Yield ROW SHARE on the other side of a key that is checked at once."""
    if key.deferred:
        return
    if key.table == table and write.kind != "delete" and write.touches(key.columns):
        yield Lock(key.referenced, LockMode.RowShareLock)
    if key.referenced == table and _action(key, write) in {"a", "r"}:
        yield Lock(key.table, LockMode.RowShareLock)


def _action(key: ForeignKey, write: Write) -> str | None:
    """Return the action on the referencing table when a row that it refers to changes."""
    if write.kind == "delete":
        return key.on_delete
    touched = write.kind == "update" and write.touches(key.referenced_columns)
    return key.on_update if touched else None


def _effect(key: ForeignKey, table: int, write: Write) -> Write | None:
    """Return what the key's action does to the referencing table."""
    action = _action(key, write) if key.referenced == table else None
    if action is None or action not in _WRITING_ACTIONS:
        return None
    if write.kind == "delete" and action == "c":
        return Write("delete")
    return Write("update", key.columns)
