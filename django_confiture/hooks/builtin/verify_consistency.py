"""``verify_consistency``: what ``capture_counts`` measured is still so, or as was declared."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import TYPE_CHECKING, Any, ClassVar

from psycopg import sql

from django_confiture import conf
from django_confiture.exceptions import HookVeto
from django_confiture.hooks.base import HookContext, HookPhase, HookResult
from django_confiture.hooks.builtin.base import ShippedHook
from django_confiture.hooks.builtin.capture_counts import CAPTURED
from django_confiture.hooks.builtin.measures import Captured, query_value
from django_confiture.hooks.builtin.options import Option, mapping_of, text
from django_confiture.hooks.builtin.tables import rows, table_oid

if TYPE_CHECKING:
    import psycopg

_PERCENT = re.compile(r"\s*(\d+(?:\.\d+)?)\s*%\s*")


def tolerance(value: object, name: str) -> tuple[Decimal, bool]:
    """Read a number, or a text such as ``"0.5%"``; return it, and whether it is a percentage."""
    if isinstance(value, int | float | Decimal) and not isinstance(value, bool) and value >= 0:
        return Decimal(str(value)), False
    if isinstance(value, str) and (match := _PERCENT.fullmatch(value)):
        return Decimal(match[1]), True
    raise conf.SettingError(
        f"{name} is {value!r}", 'write a number, such as 10, or a percentage, such as "0.5%"'
    )


class VerifyConsistency(ShippedHook):
    """Compares the values that ``capture_counts`` left with those of now; vetoes a difference.

    A value has to be equal, unless an option says otherwise. The veto says what it was and is,
    and names the first rows that are gone, new or changed, by keys that are numbers or UUIDs.

    Options, none of which is needed:

    ``tolerance``
        A dictionary: name of a value → by how much it may differ, a number or ``"0.5%"``.
    ``relations``
        A dictionary: name of a value → a condition in SQL that replaces the comparison, over
        ``before`` and ``after``, such as ``"after.shop_order = before.shop_order + 1"``. Names
        with other characters are quoted: ``after."sum(shop_order.total)"``.
    ``queries``
        A dictionary: name → SQL that returns a single value. It replaces the captured query of
        that name; a new name is only in ``after``.
    ``renamed``
        A dictionary: table → its new name, ``"table.column"`` → the column's new name.

    In a dry run it does the same. Backwards it compares with equality and tolerance; values that
    ``relations``, ``queries`` or ``renamed`` name are left out.
    """

    registered_name = "verify_consistency"
    phase = HookPhase.AFTER_VALIDATION
    directions: ClassVar[tuple[str, ...]] = ("forward", "backward")

    tolerance = Option(mapping_of(tolerance), default={})
    relations = Option(mapping_of(text), default={})
    queries = Option(mapping_of(text), default={})
    renamed = Option(mapping_of(text), default={})

    def run(self, conn: psycopg.Connection[Any], context: HookContext) -> HookResult:
        """Measure again, and compare."""
        captured: Captured | None = context.get_stat(CAPTURED)
        if captured is None:
            raise HookVeto(
                "There is nothing to compare with: let capture_counts run in this migration, too, "
                "in BEFORE_DDL."
            )
        self._refuse_unknown_names(captured)
        after = self._values(conn, captured, backward=context.direction == "backward")
        differences = [
            each
            for name in captured.values
            if name in after
            for each in self._difference(conn, name, captured, after)
        ]
        if differences:
            raise HookVeto(f"{context.label} changed what it must not: {'; '.join(differences)}.")
        for kept in captured.keys.values():
            kept.drop(conn)
        context.set_stat(CAPTURED, None)
        return self.result(**after)

    def _refuse_unknown_names(self, captured: Captured) -> None:
        for option in ("tolerance", "relations"):
            if unknown := sorted(getattr(self, option).keys() - captured.values.keys()):
                raise HookVeto(
                    f"Option {option!r} of verify_consistency names {unknown[0]!r}, which "
                    f"capture_counts did not capture; it captured "
                    f"{', '.join(map(repr, captured.values))}."
                )

    def _values(
        self, conn: psycopg.Connection[Any], captured: Captured, *, backward: bool
    ) -> dict[str, Any]:
        """Return the values of now, under the names that they had; backwards, those comparable."""
        left_out = {*self.relations, *self.queries, *self.renamed} if backward else set()
        values: dict[str, Any] = {}
        for measures in captured.tables:
            if left_out & {measures.table, *measures.names}:
                continue
            now = measures.renamed(self.renamed)
            if table_oid(conn, now.table) is None:
                raise HookVeto(
                    f"There is no table {now.table!r} any more; if it was renamed, say so in the "
                    "option 'renamed' of verify_consistency."
                )
            values.update(zip(measures.names, now.values(conn), strict=True))
        queries = captured.queries if backward else {**captured.queries, **self.queries}
        for name, query in queries.items():
            if name not in left_out:
                values[name] = query_value(conn, name, query)
        return values

    def _difference(
        self,
        conn: psycopg.Connection[Any],
        name: str,
        captured: Captured,
        after: Mapping[str, Any],
    ) -> Iterator[str]:
        """Yield what is wrong with one value, if anything."""
        was, now = captured.values[name], after[name]
        if name in self.relations:
            if not _holds(conn, self.relations[name], captured.values, after):
                yield f"{name} was {was}, is {now}, and {self.relations[name]} does not hold"
        elif not _within(was, now, *self.tolerance.get(name, (Decimal(0), False))):
            yield f"{name} was {was}, is {now}{_by(was, now)}{self._rows(conn, name, captured)}"

    def _rows(self, conn: psycopg.Connection[Any], name: str, captured: Captured) -> str:
        """Say which rows of the value's table differ, where their keys were kept."""
        for measures in captured.tables:
            kept = captured.keys.get(measures.table)
            if kept is not None and name in measures.names:
                found = kept.difference(conn, measures.renamed(self.renamed))
                return f": {found}" if found else ""
        return ""


def _within(was: object, now: object, allowed: Decimal, percent: bool) -> bool:  # noqa: FBT001
    if was == now:
        return True
    if not _are_numbers(was, now):
        return False
    before, after = Decimal(str(was)), Decimal(str(now))
    return abs(after - before) <= (abs(before) * allowed / 100 if percent else allowed)


def _by(was: object, now: object) -> str:
    if not _are_numbers(was, now):
        return ""
    return f" ({Decimal(str(now)) - Decimal(str(was)):+})"


def _are_numbers(*values: object) -> bool:
    return all(isinstance(value, int | float | Decimal) for value in values)


def _holds(
    conn: psycopg.Connection[Any],
    condition: str,
    before: Mapping[str, Any],
    after: Mapping[str, Any],
) -> bool:
    """Let PostgreSQL decide the project's condition over two rows, ``before`` and ``after``."""
    query = sql.SQL("SELECT ({}) FROM (SELECT {}) AS before, (SELECT {}) AS after").format(
        sql.SQL(condition),
        _as_columns(before),
        _as_columns(after),
    )
    return bool(rows(conn, query)[0][0])


def _as_columns(values: Mapping[str, Any]) -> sql.Composed:
    return sql.SQL(", ").join(
        sql.SQL("{} AS {}").format(sql.Literal(value), sql.Identifier(name))
        for name, value in values.items()
    )
