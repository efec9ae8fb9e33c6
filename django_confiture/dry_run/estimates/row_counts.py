"""How many rows a table has here and in production."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from django_confiture.dry_run.measuring.relations import Catalog
from django_confiture.dry_run.server.side_channel import Session
from django_confiture.formatting import count
from django_confiture.postgres import FIRST_NORMAL_OID
from django_confiture.production import ProductionStats, TableStats

SMALL = 10_000
"""With fewer rows than this, the start of a statement outweighs the work on its rows."""

_FAR_OFF = 3

_LIVE = f"""
SELECT c.oid, pg_catalog.pg_stat_get_live_tuples(c.oid),
  CASE WHEN c.relispartition THEN pg_catalog.pg_partition_root(c.oid)::oid END
FROM pg_catalog.pg_class c
WHERE c.oid >= {FIRST_NORMAL_OID} AND c.relkind IN ('r', 'p', 'm')
"""


@dataclass(frozen=True)
class Scale:
    """One table's size here and there; ``there`` is None where production's is not known."""

    relation: str
    here: int | None
    there: int | None
    doubts: tuple[str, ...] = ()

    @property
    def ratio(self) -> float | None:
        """How many times as many rows production has; None where that is not known."""
        if self.there is None or not self.here:
            return None
        return self.there / self.here


class Sizes:
    """The tables of the snapshot, and production's statistics where there are any."""

    def __init__(self, session: Session, catalog: Catalog, stats: ProductionStats | None) -> None:
        self.stats = stats
        self.server_version = int(session.value("SHOW server_version_num"))
        self._here: dict[str, int] = {}
        self._roots: dict[str, str] = {}
        relations = catalog.relations
        for oid, live, root in session.query(_LIVE):
            known = relations.get(int(oid or 0))
            if known is None:
                continue
            self._here[known.shown] = known.rows if known.rows >= 0 else int(live or 0)
            if root is not None and int(root) in relations:
                self._roots[known.shown] = relations[int(root)].shown

    def table(self, relation: str) -> TableStats | None:
        """Return production's statistics of a table."""
        return self.stats.tables.get(relation) if self.stats is not None else None

    def scale(self, relation: str, counted: int | None = None) -> Scale:
        """Return a table's sizes; ``counted`` is how many rows a scan has found here."""
        here = self._rows_here(relation, counted)
        if self.stats is None:
            return Scale(relation, here, here)
        table = self.table(relation)
        if table is None and relation in self._roots:
            return self._of_partition(relation)
        if table is None:
            return Scale(relation, here, None, (f"production's statistics have no {relation}",))
        return Scale(relation, here, *_rows_in_production(relation, table))

    def _rows_here(self, relation: str, counted: int | None) -> int | None:
        """Trust the last ANALYZE, since scans count dead rows too, unless it is far off."""
        known = self._here.get(relation)
        if known is None or counted is None:
            return counted if known is None else known
        return known if counted / _FAR_OFF <= known <= counted * _FAR_OFF else counted

    def _of_partition(self, relation: str) -> Scale:
        """Scale a partition that production does not have as the whole table."""
        root = self._roots[relation]
        here = sum(rows for name, rows in self._here.items() if self._roots.get(name) == root)
        table = self.table(root)
        if table is None:
            return Scale(relation, here, None, (f"production's statistics have no {root}",))
        there, doubts = _rows_in_production(root, table)
        return Scale(root, here, there, doubts)

    def wider(self, rows: Mapping[str, int]) -> bool:
        """Return whether one of the tables does not fit into production's cache."""
        if self.stats is None:
            return False
        cache = self.stats.settings.get("shared_buffers")
        return isinstance(cache, int) and any(
            (table := self.table(name)) is not None and table.heap_bytes > cache for name in rows
        )


def _rows_in_production(relation: str, table: TableStats) -> tuple[int | None, tuple[str, ...]]:
    if table.rows is not None and table.analyzed:
        return table.rows, _stale(relation, table)
    if table.rows == 0:
        return 0, ()
    doubt = f"{relation} was never analyzed in production"
    if table.live_rows:
        return table.live_rows, (f"{doubt}: its rows are those that the counters have seen",)
    return None, (doubt,)


def _stale(relation: str, table: TableStats) -> tuple[str, ...]:
    if table.rows and table.changed_rows and table.changed_rows > table.rows / 2:
        changed = count(table.changed_rows, "row")
        return (f"{relation}: {changed} changed in production since its last ANALYZE",)
    return ()
