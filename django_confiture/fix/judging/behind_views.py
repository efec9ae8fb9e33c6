"""Operations on a table whose name a view has until the next release.

What only adds indexes and constraints can wait until the view has ended: running code needs none of
them. Where another operation changes the table, the renaming is refused.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace

from django.db.migrations import (
    AddConstraint,
    AddIndex,
    AlterField,
    AlterIndexTogether,
    AlterUniqueTogether,
)
from django.db.migrations.operations.base import Operation

from django_confiture.dry_run.rewriting.files import Rewriting, RewrittenFile
from django_confiture.dry_run.sql.parsing.enums import AlterTableType
from django_confiture.dry_run.sql.parsing.nodes import subcommands
from django_confiture.dry_run.sql.parsing.parser import Kind, Statement
from django_confiture.fix.judging.judgment import Judgment

_ADDING = (AddConstraint, AddIndex, AlterField, AlterIndexTogether, AlterUniqueTogether)
_ADDED = (AlterTableType.AddConstraint, AlterTableType.SetNotNull)
_WHY = "The next release: until then a view has the table's name"


def adds_indexes_and_constraints(operation: Operation, statements: Sequence[Statement]) -> bool:
    """Return whether all that an operation changes is more indexes, constraints and NOT NULLs."""
    return type(operation) in _ADDING and all(
        map(_adds, _without_passing_default([e for e in statements if e.kind is Kind.DDL]))
    )


def _adds(statement: Statement) -> bool:
    if statement.what == "alter_table_stmt":
        node = statement.node.alter_table_stmt
        return all(each.subtype in _ADDED for each in subcommands(node))
    return statement.what == "index_stmt"


def _without_passing_default(statements: Sequence[Statement]) -> Iterator[Statement]:
    """Yield the statements without a default that is set for the rows there are, and dropped."""
    defaults = [each for each in statements if _is_default(each)]
    passing = defaults if ["DROP DEFAULT" in e.sql for e in defaults] == [False, True] else []
    return (each for each in statements if each not in passing)


def _is_default(statement: Statement) -> bool:
    return statement.what == "alter_table_stmt" and all(
        each.subtype == AlterTableType.ColumnDefault
        for each in subcommands(statement.node.alter_table_stmt)
    )


def around_views(
    found: Sequence[tuple[Judgment, Collection[str]]], *, waiting: bool
) -> list[Judgment]:
    """Return the judgments; a refusal of each renaming that others are in the way of.

    With each comes which tables it locks to change them. ``waiting`` says that those of them that
    can wait for the next release do.
    """
    settled = [judgment for judgment, _locked in found]
    late: set[int] = set()
    for place, (judgment, _locked) in enumerate(found):
        for table in judgment.renamed:
            names = {table.before, table.after}
            others = {
                at
                for at, (each, locked) in enumerate(found)
                if not names.isdisjoint(locked) and _is_in_the_way(each, at - place, judgment)
            }
            if waiting and all(at > place and _can_wait(found[at][0]) for at in others):
                late |= others
            elif others:
                settled[place] = _refused(judgment, table.before)
    return [_late(each) if at in late else each for at, each in enumerate(settled)]


def _is_in_the_way(other: Judgment, distance: int, rename: Judgment) -> bool:
    if other.renamed:
        return False
    moves = any(each.before != each.after for each in rename.renamed)
    return distance > 0 or (other.waits and moves)


def _can_wait(judgment: Judgment) -> bool:
    return judgment.only_adds and judgment.outcome != "refused" and not judgment.waits


def _late(judgment: Judgment) -> Judgment:
    """Return the judgment of what is done in the next release."""
    new = judgment.rewriting
    files = new.files if new is not None else ()
    files = files or (RewrittenFile("columns", _WHY, [judgment.operation]),)
    late = tuple(
        replace(each, why=f"{_WHY}. {each.why}" if new else _WHY, next_release=True)
        for each in files
    )
    return replace(judgment, rewriting=Rewriting(late))


def _refused(judgment: Judgment, table: str) -> Judgment:
    reason = (
        f"until the next release a view would have the name {table}, and another operation, which "
        "can't go before it, changes that table: put it into a separate migration"
    )
    finding = judgment.finding
    return Judgment(judgment.operation, "refused", finding, reason, behind_view=True)
