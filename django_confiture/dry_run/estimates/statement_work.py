"""What a statement's work grows with: its kind, and the rows of which tables."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from django_confiture.dry_run.findings.subject import JudgedStatement
from django_confiture.dry_run.sql.parsing.enums import AlterTableType, ConstrType
from django_confiture.dry_run.sql.parsing.nodes import added_constraint, subcommands, written_name
from django_confiture.dry_run.sql.parsing.parser import Kind

METADATA = "metadata"
SCAN = "scan"
FOREIGN_KEY = "foreign key"
REWRITE = "rewrite"
EXCLUSION = "exclusion constraint"
SELECT = "select"
INSERT = "insert"
UPDATE = "update"
DELETE = "delete"
CODE = "code"
"""SQL that the parser can't see into: DO, CALL, a function."""
ROW_BY_ROW = "row by row"
PYTHON = "python"
"""What passes between the statements of an operation."""

_INDEXES = ("index, text", "index, gin", "index", "index, partial")

_DML = {
    "insert_stmt": INSERT,
    "copy_stmt": INSERT,
    "update_stmt": UPDATE,
    "merge_stmt": UPDATE,
    "delete_stmt": DELETE,
}


@dataclass(frozen=True)
class Work:
    """What one statement did that takes longer the more rows there are."""

    kind: str
    rows: Mapping[str, int] = field(default_factory=dict)
    """Relation → rows of it that were read or written, 0 where it was empty; without any, the
    work does not grow."""
    sizes: Mapping[str, int] = field(default_factory=dict)
    """Relation → how many rows it has here, where a scan counted them."""
    fills: str | None = None
    """The table of the dry run itself that it puts rows into."""
    of_new: str | None = None
    """The table of the dry run itself that it works on."""


def work_of(step: JudgedStatement, index_kinds: Mapping[str, str]) -> Work:
    """Return a statement's work; ``index_kinds`` says what the indexes are that it may build."""
    result = step.result
    rows: dict[str, int] = {}
    sizes: dict[str, int] = {}
    for scan in result.scans:
        if scan.rows is not None:
            rows[scan.relation] = rows.get(scan.relation, 0) + scan.rows
            if step.statement.kind is Kind.DDL:  # what else reads much need not read it all
                sizes[scan.relation] = round(scan.rows / max(1, scan.passes))
        else:
            rows.setdefault(scan.relation, 1)
    written = {w.relation: w.inserted + w.updated + w.deleted for w in result.writes}
    kind = _kind(step, bool(rows), index_kinds)
    target = _target(step)
    new = _new(step, target)
    if kind == INSERT:
        # What an INSERT takes its rows from makes it long, not what is there already.
        return Work(kind, rows or written, sizes, fills=target)
    for relation, count in written.items():
        rows[relation] = rows.get(relation, 0) + count
    return Work(kind, rows, sizes, of_new=new)


def _kind(step: JudgedStatement, scans: bool, index_kinds: Mapping[str, str]) -> str:  # noqa: FBT001
    if step.statement.kind in (Kind.OPAQUE, Kind.UNPARSED, Kind.UNSEEN):
        return CODE
    if step.statement.kind is Kind.SELECT:
        return SELECT
    what = step.statement.what
    if what in _DML:
        return _DML[what]
    if step.statement.kind is Kind.DML:
        return UPDATE  # WITH ... (UPDATE ...) SELECT
    if step.result.rewrites:
        return REWRITE
    if _excludes(step):
        return EXCLUSION
    kinds = {index_kinds[name] for name in indexes_named(step) if name in index_kinds}
    if kinds:
        return min(kinds, key=_growing_first)
    if _is_foreign_key(step):
        return FOREIGN_KEY
    return SCAN if scans else METADATA


def _growing_first(kind: str) -> int:
    """Order the kinds of indexes: those of which nothing is known, then the faster growing."""
    return _INDEXES.index(kind) if kind in _INDEXES else -1


def indexes_named(step: JudgedStatement) -> Iterable[str]:
    """Yield the indexes that it built, on a table of the dry run itself, too."""
    yield from step.result.indexes_built
    if step.statement.what == "index_stmt":
        yield step.node.idxname
    for constraint in _added(step):
        if constraint.contype in (ConstrType.UNIQUE, ConstrType.PRIMARY):
            yield constraint.conname


def _added(step: JudgedStatement) -> Iterable[Any]:
    if step.statement.what == "alter_table_stmt":
        for clause in subcommands(step.node):
            if clause.subtype == AlterTableType.AddConstraint:
                yield added_constraint(clause)


def _excludes(step: JudgedStatement) -> bool:
    return any(each.contype == ConstrType.EXCLUSION for each in _added(step))


def _is_foreign_key(step: JudgedStatement) -> bool:
    """Return whether it checks a foreign key: both sides are read then."""
    return any(each.contype == ConstrType.FOREIGN for each in _added(step)) or (
        step.statement.what == "alter_table_stmt"
        and len(step.result.scans) > 1
        and any(c.subtype == AlterTableType.ValidateConstraint for c in subcommands(step.node))
    )


def _target(step: JudgedStatement) -> str | None:
    """Return the relation that the statement names first, as written."""
    node = step.node
    if node is None or "relation" not in node.DESCRIPTOR.fields_by_name:
        return None
    if step.statement.what == "create_stmt":
        return None
    return written_name(node.relation) or None


def _new(step: JudgedStatement, target: str | None) -> str | None:
    if target is None or step.existing(step.node.relation) is not None:
        return None
    return target
