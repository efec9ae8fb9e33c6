"""One batch: the rows of a window, done in one of three ways."""

from __future__ import annotations

from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

from django.db import connections, models

from django_confiture.backfills.batching.keys import key_fields
from django_confiture.backfills.batching.quick_instances import uncollected, with_quick_instances
from django_confiture.backfills.batching.windows import Window
from django_confiture.backfills.batching.write_back import (
    can_be_text,
    keys_of,
    lie_in_own_table,
    links_to_parents,
    with_version,
    write_back,
    write_locked,
)
from django_confiture.backfills.declared.declaration import LOW_ABOVE, Backfill
from django_confiture.backfills.error_kinds import RowFault

if TYPE_CHECKING:
    from django.apps.registry import Apps


QUICK_ROWS = 2000
"""So many, more than the first batch has, take half a second; then all that they made is gone."""


def do_window(backfill: Backfill, window: Window, *, using: str, apps: Apps) -> int:
    """Do the rows of ``window`` that are still to be done; return how many they were."""
    if backfill.way == "sql":
        return _execute(backfill, window, using, apps)
    rows = window.of(backfill.rows_to_do(using, apps))
    if backfill.values is not None:
        return rows.update(**backfill.values)
    with uncollected() if window.size >= QUICK_ROWS else nullcontext():
        return _process(backfill, with_quick_instances(rows.order_by("pk")))


def _process(backfill: Backfill, rows: models.QuerySet[Any]) -> int:
    """Let Python do the rows: guarded by their version where the package writes, else locked."""
    names, as_text = backfill.fields, can_be_text(rows.model, backfill.fields)
    if names and as_text and lie_in_own_table(rows.model, names):
        read = with_version(rows)
        _read_and_process(backfill, read)
        return write_back(read, names)
    parts = ("self", *links_to_parents(rows.model))
    locked = rows.select_for_update(of=parts, no_key=True)
    _read_and_process(backfill, locked)
    if names and as_text:
        write_locked(locked, names)
    elif names:
        rows.model._base_manager.using(rows.db).bulk_update(locked, backfill.fields)
    return len(locked)


def _read_and_process(backfill: Backfill, rows: models.QuerySet[Any]) -> None:
    """Read the rows and let Python do them, if there are any; refuse one with another key then."""
    with uncollected():
        if not rows:
            return
    keys = keys_of(rows)
    backfill.process(rows)
    if backfill.fields and (found := keys_of(rows)) != keys:
        before, after = next(pair for pair in zip(keys, found, strict=True) if pair[0] != pair[1])
        raise RowFault(
            f"process() gave row {before} the primary key {after}, so the package can't tell which "
            "row to write: leave the primary key alone, or leave `fields` out and write yourself."
        )


def _execute(backfill: Backfill, window: Window, using: str, apps: Apps) -> int:
    first = (
        window.of(backfill.rows(using, apps)).order_by("pk").values_list("pk", flat=True).first()
    )
    if first is None:
        return 0  # its rows were deleted meanwhile
    if LOW_ABOVE.search(backfill.sql):
        first -= 1  # an integer: the declaration was checked
    columns = [str(field.column) for field in key_fields(backfill.model_in(apps))]
    with connections[using].cursor() as cursor:
        cursor.execute(
            backfill.sql, {**_bound("low", first, columns), **_bound("high", window.last, columns)}
        )
        return max(0, int(cursor.rowcount))


def _bound(name: str, key: Any, columns: list[str]) -> dict[str, Any]:
    if not isinstance(key, tuple):
        return {name: key}
    return {f"{name}_{column}": value for column, value in zip(columns, key, strict=True)}
