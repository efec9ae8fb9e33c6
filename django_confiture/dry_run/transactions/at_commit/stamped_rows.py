"""Rows that a default or a trigger stamps with now(): all migrations of a dry run write one time.

For real they differ. So a unique index takes both, and an order by that column is one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Set
from typing import TYPE_CHECKING, NamedTuple

from psycopg import errors

from django_confiture.dry_run.server.side_channel import array
from django_confiture.dry_run.sql.parsing.parser import Kind
from django_confiture.dry_run.sql.rows.compared_columns import EVERY_COLUMN, compared_columns
from django_confiture.dry_run.sql.rows.stamps import leaves_stamps
from django_confiture.dry_run.transactions.at_commit.node_trees import reads_time

if TYPE_CHECKING:
    from django_confiture.dry_run.server.side_channel import Session
    from django_confiture.dry_run.sql.parsing.parser import Statement

EQUAL_TIMES = (
    "A default or a trigger has stamped rows of two migrations with now(), which is the same in a "
    "dry run and differs for real: --clone rehearses it exactly."
)
_IN_INDEX = (
    "The unique index {} covers a column that is filled with now(), which is the same in all "
    "migrations of a dry run, and an earlier one has filled the table, too: --clone rehearses it "
    "exactly."
)
_NEW_INDEX = (
    "The new unique index of {} covers a column that is filled with now(), which is the same in "
    "all migrations of a dry run, and two of them have filled the table: --clone rehearses it "
    "exactly."
)

# Of a table that a trigger fills, each column that can hold a time may be the one.
_STAMPED = f"""
    WITH stamped (oid, attnum) AS (
      SELECT d.adrelid, d.adnum FROM pg_catalog.pg_attrdef d
      WHERE {reads_time("d.adbin::text")}
      UNION
      SELECT c.oid, a.attnum FROM pg_catalog.pg_class c
      JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid
      WHERE c.relname = ANY ($1) AND c.relkind IN ('r', 'p') AND a.attnum > 0
        AND a.atttypid IN ('timestamptz'::regtype, 'timestamp'::regtype, 'timetz'::regtype,
          'time'::regtype)
    )
    SELECT c.relname, a.attname, (
      SELECT x.relname FROM pg_catalog.pg_index i
      JOIN pg_catalog.pg_class x ON x.oid = i.indexrelid
      WHERE i.indrelid = c.oid AND (i.indisunique OR i.indisexclusion)
        AND a.attnum = ANY (i.indkey) LIMIT 1)
    FROM stamped JOIN pg_catalog.pg_class c USING (oid)
    JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attnum = stamped.attnum
"""


_ADDING = ("insert_stmt", "merge_stmt", "copy_stmt")
_WRITING = (*_ADDING, "update_stmt", "delete_stmt")


class _Column(NamedTuple):
    table: str
    name: str
    unique_index: str
    """A unique index that covers it; ``""`` if there is none."""


class StampedRows:
    """Notes which transaction has added rows to which table, and where equal times matter."""

    def __init__(self, session: Session, stamping: Callable[[], Mapping[str, set[str]]]) -> None:
        """``stamping`` gives the tables with triggers that read the time → those they may fill."""
        self._session = session
        self._stamping = stamping
        self._filled: set[str] = set()
        self._filled_before: set[str] = set()
        self._filled_twice: set[str] = set()
        self._columns: list[_Column] | None = None
        """None: not asked for since the schema may have changed."""

    def note_stamped(self, statement: Statement, tables: frozenset[str], *, mentions: bool) -> str:
        """Note what a statement fills; return why equal times matter to it, ``""`` if not.

        ``mentions`` says whether its text mentions what all migrations of a dry run share.
        """
        filled = _filled(statement) | self._by_triggers(statement)
        why = self._why(statement, tables, filled)
        if self._may_change_columns(statement, mentions=mentions):
            self._columns = None
        self._filled |= filled
        return why

    def _may_change_columns(self, statement: Statement, *, mentions: bool) -> bool:
        if statement.kind is not Kind.DDL:
            return statement.kind is Kind.OPAQUE
        return mentions or bool(self._stamping()) or not leaves_stamps(statement)

    def _by_triggers(self, statement: Statement) -> set[str]:
        """Return the tables that the triggers of the one that it writes to may fill."""
        if statement.what not in _WRITING:
            return set()
        target = getattr(statement.node, statement.what).relation.relname
        return self._stamping().get(target, set())

    def ended(self, *, kept: bool) -> None:
        """Count what comes now for another transaction."""
        if kept:
            self._filled_twice |= self._filled & self._filled_before
            self._filled_before |= self._filled
        self._filled = set()

    def _why(self, statement: Statement, tables: frozenset[str], filled: Set[str]) -> str:
        for each in self._stamped(filled & self._filled_before):
            if each.unique_index:
                return _IN_INDEX.format(each.unique_index)
        twice = tables & (self._filled_twice | (self._filled & self._filled_before))
        stamped = self._stamped(twice)
        compared = compared_columns(statement) if stamped else frozenset()
        matter = [e.table for e in stamped if e.name in compared or EVERY_COLUMN in compared]
        if matter and statement.what == "index_stmt":
            return _NEW_INDEX.format(matter[0])
        return EQUAL_TIMES if matter else ""

    def _stamped(self, tables: Set[str]) -> list[_Column]:
        if not tables:
            return []
        if self._columns is None:
            by_triggers = set().union(*self._stamping().values())
            rows = self._session.query(_STAMPED, [array(sorted(by_triggers))])
            self._columns = [_Column(t or "", name or "", index or "") for t, name, index in rows]
        return [each for each in self._columns if each.table in tables]


def _filled(statement: Statement) -> frozenset[str]:
    """Return the table that a statement adds rows to, as far as its text tells."""
    if statement.what not in _ADDING:
        return frozenset()
    return frozenset([getattr(statement.node, statement.what).relation.relname])


def is_of_equal_times(error: BaseException, reasons: Iterable[str]) -> bool:
    """Return whether rows violate an index only since they have the same time in a dry run.

    ``reasons`` say why the operation that failed is not exact.
    """
    if not isinstance(error, errors.UniqueViolation | errors.ExclusionViolation):
        return False
    excuses = (
        _IN_INDEX.format(error.diag.constraint_name),
        _NEW_INDEX.format(error.diag.table_name),
    )
    return any(excuse in reason for reason in reasons for excuse in excuses)
