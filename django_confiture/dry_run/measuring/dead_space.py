"""Stop before too much dead space: rows that were written and rolled back stay until VACUUM.

PostgreSQL's counters say how many rows were written, the sizes before the dry run how many bytes
a row takes with its indexes. Where that comes to more than the limit, the tables are measured.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import TYPE_CHECKING

from django_confiture.dry_run.measuring.nontransactional import dead_bytes
from django_confiture.dry_run.measuring.planned_writes import written
from django_confiture.dry_run.sql.parsing.parser import Kind, Statement
from django_confiture.exceptions import DryRunStopped
from django_confiture.formatting import size

if TYPE_CHECKING:
    from django_confiture.dry_run.measuring.effects import Effects
    from django_confiture.dry_run.measuring.relations import Catalog, Probe
    from django_confiture.dry_run.server.side_channel import Session

_UNKNOWN_WIDTH = 200
"""Bytes of a row, with its indexes, in a table that was never analyzed."""

_PAGE = 8192
_HEADER = 28
"""Bytes of a row's header and of its place in the page."""

_ENTRY = 40
"""Bytes of an entry in an index that is too small to be measured."""

_AGAIN = 0.1
"""The share of the limit that has to be written before the tables are measured once more."""


class RowWidths:
    """How many bytes a new version of a row takes, by the sizes before the dry run."""

    def __init__(self, catalog: Catalog) -> None:
        self._relations = catalog.relations
        self._indexes: dict[int, list[int]] = {}
        for each in catalog.relations.values():
            if each.table is not None:
                self._indexes.setdefault(each.table, []).append(each.size)

    def whole(self, oid: int) -> int:
        """Return the size of a table with its indexes."""
        relation = self._relations.get(oid)
        return 0 if relation is None else relation.size + sum(self._indexes.get(oid, []))

    def of(self, oid: int, planned: int | None = None) -> float:
        """Return the bytes for each row, in the table and in all of its indexes.

        A table with few rows or much bloat has many bytes for each row that it holds, which says
        nothing of new ones: neither these nor their entries are wider than they are ``planned``.
        """
        relation = self._relations.get(oid)
        if relation is None or relation.rows <= 0:
            return _unknown(planned)
        at_most = _PAGE if planned is None else planned + _HEADER
        # The last page of a table, and two of an index, are not full of rows.
        shares = [_share(relation.size - _PAGE, relation.rows, _UNKNOWN_WIDTH)]
        shares += [
            _share(each - 2 * _PAGE, relation.rows, _ENTRY) for each in self._indexes.get(oid, [])
        ]
        return sum(min(each, at_most) for each in shares)

    def average(self, oids: Collection[int], planned: int | None = None) -> float:
        """Return the bytes for each row of several tables: of the partitions of one."""
        rows = {oid: self._relations[oid].rows for oid in oids if oid in self._relations}
        known = {oid: count for oid, count in rows.items() if count > 0}
        total = sum(known.values())
        weighted = sum(self.of(oid, planned) * count for oid, count in known.items())
        return weighted / total if total else _unknown(planned)


def _unknown(planned: int | None) -> int:
    return _UNKNOWN_WIDTH if planned is None else planned + _HEADER


def _share(size: int, rows: int, small: int) -> float:
    return size / rows if size > 0 else min(_PAGE / rows, small)


class DeadSpaceLimit:
    """Adds up what one connection has written, and ends the dry run where it is too much."""

    def __init__(self, session: Session, catalog: Catalog, limit: int | None) -> None:
        """``limit`` is in bytes, None for no limit."""
        self._session = session
        self._catalog = catalog
        self._limit = limit
        self._measured = 0.0
        self._noted = 0.0
        """By the counters, since the tables were measured."""
        self._last = 0.0
        self._unprobed = 0.0
        self._rates: dict[str, tuple[float, int]] = {}
        self._next = 0.0
        self._written: set[int] = set()
        self._new_files: set[int] = set()
        self._widths = RowWidths(catalog)
        self._reason = ""

    @property
    def stopped(self) -> bool:
        """Whether the dry run has ended, as the limit was crossed."""
        return bool(self._reason)

    def left(self) -> int:
        """Return the bytes that the rollback will leave; call it before."""
        return dead_bytes(self._session, self._catalog, self._written)

    @property
    def _so_far(self) -> float:
        return self._measured + self._noted + self._unprobed

    def note(self, measured: Effects, now: Probe) -> None:
        """Add what a probe saw; it covers whatever ran unprobed before it."""
        self._last = self._unprobed = 0.0
        self._written.update(oid for oid, _counters in measured.writes)
        if self._limit is None:
            return
        for oid, wrote in measured.writes:
            if self._in_old_file(oid, now):
                self._last += (wrote.inserted + wrote.updated) * self._widths.of(oid)
        self._noted += self._last

    def ran(self, statement: Statement, rows: int, *, probed: bool) -> None:
        """Add what a repeated statement wrote, as its probed runs did for each row of theirs."""
        if self._limit is None or statement.kind not in (Kind.DML, Kind.OPAQUE):
            return
        bytes_written, counted = self._rates.get(statement.sql, (0.0, 0))
        if not probed:
            self._unprobed += max(rows, 1) * bytes_written / max(counted, 1)
        elif self._last:
            self._rates[statement.sql] = bytes_written + self._last, counted + max(rows, 1)
        if self._so_far > max(self._limit, self._next):
            self._measure()
            self._next = self._measured + self._limit * _AGAIN
            if self._measured > self._limit:
                self._stop(f"With {size(round(self._measured))} of dead space, the dry run stopped")

    def stop_if_too_much(self, statement: Statement, predicted: Iterable[tuple[int, str]]) -> None:
        """Stop before a statement that alone is too much, by the planner's estimate."""
        self.check()
        tables = {oid for oid, _mode in predicted}
        if self._limit is None or statement.kind is not Kind.DML or not tables:
            return  # what is repeated was looked at before it ran for the first time
        if self._so_far + sum(map(self._widths.whole, tables - self._new_files)) <= self._limit:
            return
        comes = self._expected(statement)
        if comes and self._so_far + comes > self._limit:
            self._measure()
            if self._measured + comes > self._limit:
                found = size(round(self._measured + comes))
                self._stop(
                    f"Before a statement that would leave about {found} of dead space, the dry run "
                    "stopped"
                )

    def _expected(self, statement: Statement) -> float:
        comes = 0.0
        for each in written(statement, self._session):
            relation = self._catalog.relations.get(each.table)
            if relation is not None and each.table not in self._new_files:
                rows = relation.rows if each.rows is None else each.rows
                comes += max(0, rows) * self._widths.of(each.table, each.width)
        return comes

    def check(self) -> None:
        """Raise again where the limit was crossed: a migration may swallow errors."""
        if self._reason:
            raise DryRunStopped(self._reason)

    def _measure(self) -> None:
        self._measured = self.left()
        self._noted = self._unprobed = 0.0

    def _stop(self, what: str) -> None:
        assert self._limit is not None
        self._reason = (
            f"{what}, as MAX_DEAD_SPACE is {size(self._limit)}; pass --allow-dead-space where "
            "VACUUM may clear that, or rehearse on a copy."
        )
        self.check()

    def _in_old_file(self, oid: int, now: Probe) -> bool:
        """Return whether rows were written into the file that the rollback leaves as it is."""
        if now.relations[oid].filenode != self._catalog.relations[oid].filenode:
            self._new_files.add(oid)  # a rewritten table gets its old file back
        return oid not in self._new_files
