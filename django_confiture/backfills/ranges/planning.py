"""Estimates the rows to do, and splits the keys into ranges that workers share."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from random import Random
from typing import TYPE_CHECKING, Any

from django.db import NotSupportedError, ProgrammingError, connections, models, transaction

from django_confiture.backfills.batching.keys import key_fields, key_to_json
from django_confiture.backfills.declared.declaration import Backfill
from django_confiture.backfills.error_kinds import sqlstate_of
from django_confiture.backfills.models import BackfillRange, BackfillRun

if TYPE_CHECKING:
    from django.apps.registry import Apps

RANGES_A_WORKER = 8
"""So that a slow range does not make the other workers wait at the end."""
ROWS_A_RANGE = 20_000
"""At least; a smaller table is not split."""
SAMPLED_ROWS = 30_000
LOOKED_AT = 2000
"""Rows that are asked whether they are still to be done; at random, as keys may have a pattern."""
FEW = 100
"""Fewer sampled rows say nothing."""
MEMORY = 64 * 1024 * 1024
"""Bytes of rows, as the table stores them, that Python reads at once."""
_BYTES = """
SELECT coalesce(
  (SELECT sum(pg_catalog.pg_table_size(relid)) FROM pg_catalog.pg_partition_tree(t) WHERE isleaf),
  pg_catalog.pg_table_size(t))::bigint
FROM pg_catalog.to_regclass(%s) t
"""
_NO_SAMPLES = {"0A000", "42809"}
"""What PostgreSQL says of TABLESAMPLE on a view or a foreign table."""


def estimated_rows(rows: models.QuerySet[Any]) -> int:
    """Return how many rows the planner expects; nothing is read."""
    plan = json.loads(rows.order_by().explain(format="json"))
    return int(plan[0]["Plan"]["Plan Rows"])


def estimated_to_do(backfill: Backfill, *, using: str, apps: Apps) -> int:
    """Return about how many rows are still to be done, from a sample of the table's pages.

    Of a column that was added a moment ago the planner knows nothing, and of a table that was
    just rewritten it counts the dead rows, too.
    """
    to_do = backfill.rows_to_do(using, apps)
    sample = _sample_of(backfill.model_in(apps), using)
    if len(sample.keys) < FEW:
        known = estimated_rows(backfill.rows(using, apps))
        return estimated_rows(to_do) if known > SAMPLED_ROWS else to_do.count()
    if backfill.where is None:
        return sample.total
    looked_at = Random(0).sample(sample.keys, min(LOOKED_AT, len(sample.keys)))  # noqa: S311
    found = to_do.filter(pk__in=looked_at).count()
    if found == 0:
        return min(estimated_rows(to_do), sample.total // len(looked_at))
    return round(sample.total * found / len(looked_at))


def rows_in_memory(backfill: Backfill, *, using: str, apps: Apps) -> int | None:
    """Return how many rows ``process`` can be given at once; None where Python reads none."""
    if backfill.way != "process":
        return None
    connection = connections[using]
    table = connection.ops.quote_name(backfill.model_in(apps)._meta.db_table)
    with connection.cursor() as cursor:
        cursor.execute(_BYTES, [table])
        (size,) = cursor.fetchone()
    rows = max(1, estimated_rows(backfill.rows(using, apps)))
    return max(1, MEMORY * rows // size) if size else None


def last_key(rows: models.QuerySet[Any]) -> Any:
    """Return the highest key; None of an empty table."""
    return rows.order_by("pk").values_list("pk", flat=True).last()


def plan_ranges(
    run: BackfillRun, backfill: Backfill, *, using: str, apps: Apps, wanted: int
) -> None:
    """Add the ranges of the first pass: together they span every key there is now."""
    rows = backfill.rows(using, apps)
    wanted = min(wanted, estimated_rows(rows) // ROWS_A_RANGE)
    bounds = quantile_keys(backfill.model_in(apps), using, wanted) if wanted > 1 else []
    _add(run, using, [None, *bounds, last_key(rows)])


def add_pass(run: BackfillRun, backfill: Backfill, *, using: str, apps: Apps) -> None:
    """Add a range for what was inserted or changed meanwhile.

    Without ``where`` only the keys behind those of the passes before can be told from what is done.
    """
    last = BackfillRange.objects.using(using).filter(run_id=run.pk).order_by("position").last()
    low = last_key_of_passes(run, using) if backfill.where is None else None
    high = last_key(backfill.rows(using, apps))
    BackfillRange.objects.using(using).create(
        run_id=run.pk,
        position=0 if last is None else last.position + 1,
        pass_number=run.pass_number,
        low=low,
        high=None if high is None else key_to_json(high),
        cursor=low,
    )


def last_key_of_passes(run: BackfillRun, using: str) -> list[Any] | None:
    """Return the last key that the passes so far have reached; None where they found no row."""
    ranges = BackfillRange.objects.using(using).filter(run_id=run.pk)
    last = ranges.order_by("pass_number", "position").last()
    # A range without an end was added while the table had no row.
    return None if last is None else last.high or last.cursor


def _add(run: BackfillRun, using: str, bounds: Sequence[Any]) -> None:
    keys = [None if bound is None else key_to_json(bound) for bound in bounds]
    BackfillRange.objects.using(using).bulk_create(
        BackfillRange(run_id=run.pk, position=position, low=low, high=high, cursor=low)
        for position, (low, high) in enumerate(pairwise(keys))
    )


def quantile_keys(model: type[models.Model], using: str, wanted: int) -> list[Any]:
    """Return keys that part the table in about equal shares, by a sample of its pages."""
    keys = _sample_of(model, using).keys
    picked = [keys[len(keys) * number // wanted] for number in range(1, wanted)] if keys else []
    return [key for index, key in enumerate(picked) if key not in picked[:index]]


@dataclass(frozen=True)
class _Sample:
    keys: Sequence[Any]
    """In order; none where PostgreSQL can't take samples."""
    total: int
    """How many rows the table has, by the share of pages that was read."""


def _sample_of(model: type[models.Model], using: str) -> _Sample:
    planned = max(1, estimated_rows(model._base_manager.using(using).all()))
    connection = connections[using]
    quote = connection.ops.quote_name
    columns = ", ".join(quote(str(field.column)) for field in key_fields(model))
    percent = min(100.0, 100.0 * SAMPLED_ROWS / planned)
    try:
        with transaction.atomic(using=using), connection.cursor() as cursor:
            cursor.execute(
                f"SELECT {columns} FROM {quote(model._meta.db_table)}"
                f" TABLESAMPLE SYSTEM (%s) ORDER BY {columns}",
                [percent],
            )
            rows = cursor.fetchall()
    except (NotSupportedError, ProgrammingError) as error:
        if sqlstate_of(error) not in _NO_SAMPLES:
            raise
        return _Sample((), planned)
    keys = [row[0] if len(row) == 1 else row for row in rows]
    return _Sample(keys, round(len(keys) * 100 / percent))
