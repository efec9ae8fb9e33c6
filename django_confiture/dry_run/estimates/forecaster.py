"""Forecasts of one dry run, migration by migration."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from psycopg.pq import TransactionStatus

from django_confiture.dry_run.estimates.basis import basis_of, basis_of_migration
from django_confiture.dry_run.estimates.bytes_written import volumes
from django_confiture.dry_run.estimates.calibration import SHIPPED, Calibration, Z
from django_confiture.dry_run.estimates.growth import ItemForecast, forecast
from django_confiture.dry_run.estimates.statement_work import Work, indexes_named
from django_confiture.dry_run.estimates.table_impact import production_of
from django_confiture.dry_run.estimates.time_parts import items_of
from django_confiture.dry_run.results import (
    Estimate,
    MigrationEstimate,
    MigrationResult,
    Production,
    StatementResult,
    TableResult,
)
from django_confiture.dry_run.server.side_channel import array

if TYPE_CHECKING:
    from django_confiture.dry_run.estimates.past_errors import PastErrors
    from django_confiture.dry_run.estimates.row_counts import Sizes
    from django_confiture.dry_run.findings.subject import JudgedStatement
    from django_confiture.dry_run.server.side_channel import Session

_MATTERS = 0.1
"""A part that takes less of the whole than this says nothing about the confidence in it."""

_USABLE = (TransactionStatus.INTRANS, TransactionStatus.IDLE)

# Looked up index by index: to plan a join takes longer than to read these few rows.
_INDEXES = """
SELECT c.relname, CASE
    WHEN (SELECT m.amname <> 'btree' FROM pg_catalog.pg_am m WHERE m.oid = c.relam)
      THEN (SELECT m.amname FROM pg_catalog.pg_am m WHERE m.oid = c.relam)
    WHEN (SELECT i.indpred IS NOT NULL FROM pg_catalog.pg_index i WHERE i.indexrelid = c.oid)
      THEN 'partial'
    WHEN EXISTS (SELECT FROM pg_catalog.pg_attribute a
                 WHERE a.attrelid = c.oid AND a.attcollation <> 0) THEN 'text' END
FROM pg_catalog.pg_class c
WHERE c.relkind IN ('i', 'I') AND c.relname = ANY ($1::name[])
ORDER BY 2 DESC
"""
"""Of two with one name, in two schemas, the one of which more is known comes last."""


class Forecaster:
    """Makes the forecasts, and remembers which tables filled those that the plan creates."""

    def __init__(
        self,
        session: Session,
        sizes: Sizes,
        past_errors: Mapping[str, PastErrors] | None = None,
        *,
        calibration: Calibration = SHIPPED,
    ) -> None:
        """Take the errors of earlier forecasts by kind of work, where any are known."""
        self._calibration = calibration
        self._session = session
        self._past_errors = past_errors
        self._sizes = sizes
        self._origins: dict[str, Work] = {}

    def estimated(
        self, result: MigrationResult, steps: Sequence[JudgedStatement]
    ) -> MigrationResult:
        """Return the result with its forecasts; a migration that did not pass gets none."""
        if result.outcome != "passed":
            return result
        items = items_of(result, steps, self._index_kinds(steps), self._origins)
        parts = [
            forecast(item, self._sizes, self._past_errors, calibration=self._calibration)
            for item in items
        ]
        by_id = {part.item.step.id: part for part in parts if part.item.step is not None}

        def estimated(statement: StatementResult) -> StatementResult:
            part = by_id.get(statement.id)
            return replace(statement, estimate=self._of_statement(part) if part else None)

        return replace(
            result,
            warnings=(*result.warnings, *_unmeasured(parts)),
            operations=tuple(
                replace(operation, statements=tuple(map(estimated, operation.statements)))
                for operation in result.operations
            ),
            statements=tuple(map(estimated, result.statements)),
            tables=tuple(
                replace(table, production=self._of_table(table, parts)) for table in result.tables
            ),
            estimate=self._of_migration(result, parts),
        )

    def _of_table(self, table: TableResult, parts: Sequence[ItemForecast]) -> Production | None:
        if any(part.empty for part in parts):
            return None
        return production_of(table, parts, self._sizes)

    def _of_statement(self, part: ItemForecast) -> Estimate | None:
        if part.empty:
            return None
        found = part.range(Z)
        return Estimate(
            found.low_ms,
            found.expected_ms,
            found.high_ms,
            self._calibration.confidence(part.times) if part.known else 0,
            basis_of(part, self._sizes),
            part.factor,
            part.item.work.kind,
        )

    def _of_migration(
        self, result: MigrationResult, parts: Sequence[ItemForecast]
    ) -> MigrationEstimate | None:
        if any(part.empty for part in parts):
            return None
        ranges = [part.range(Z) for part in parts]
        expected = sum(each.expected_ms for each in ranges)
        matter = [
            part
            for part in parts
            if part.expected_ms >= _MATTERS * expected
            or any(scale.there is None for scale in part.scales)
        ]
        found = volumes(parts, self._sizes)
        return MigrationEstimate(
            sum(each.low_ms for each in ranges),
            expected,
            sum(each.high_ms for each in ranges),
            min(
                (self._calibration.confidence(p.times) if p.known else 0 for p in matter),
                default=0,
            ),
            basis_of_migration(result, matter, self._sizes),
            kind="migration",
            wal_bytes=found.wal,
            dead_bytes=found.dead,
            disk_bytes=found.disk,
        )

    def _index_kinds(self, steps: Iterable[JudgedStatement]) -> dict[str, str]:
        """Return each index's kind: its method, or what makes a B-tree grow otherwise."""
        names = sorted({name for step in steps for name in indexes_named(step)})
        if not names or self._session.status not in _USABLE:
            return {}
        rows = self._session.query(_INDEXES, [array(names)])
        return {name or "": f"index, {kind}" if kind else "index" for name, kind in rows}


def _unmeasured(parts: Iterable[ItemForecast]) -> Iterator[str]:
    """Yield why there is no forecast."""
    scales = {s.relation: s for part in parts for s in part.scales if s.relation in part.empty}
    for name, scale in scales.items():
        yield (
            f"{name} is empty here and has {scale.there:,} rows in production: nothing was "
            "measured that a forecast could be made from."
        )
