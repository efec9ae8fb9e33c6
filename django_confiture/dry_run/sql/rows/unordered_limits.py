"""``LIMIT`` without ``ORDER BY``: which rows a statement takes is left to where they lie."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from django_confiture.dry_run.sql.parsing.library import pg, postgast
from django_confiture.dry_run.sql.parsing.nodes import Node
from django_confiture.dry_run.sql.parsing.suspects import Suspects

if TYPE_CHECKING:
    from django_confiture.dry_run.sql.parsing.parser import Statement

_SUSPECT = Suspects(r"\b(?:LIMIT|FETCH)\b", "limit", "fetch")
"""A tree is only looked into where the text may hold such a thing."""


def unordered_limits(statement: Statement) -> Iterator[tuple[int, set[str]]]:
    """Yield for each limit that is unordered the number of rows, and the tables that it is about.

    A limit that is not a number in the text counts as 1. What returns constants alone, such as
    ``exists()``, takes no row rather than another.
    """
    if statement.node is None or not _SUSPECT.search(statement.sql):
        return
    everything = {each.relname for each in statement.relations}
    has_with = any(True for _each in postgast.find_nodes(statement.node, pg.WithClause))
    for select in postgast.find_nodes(statement.node, pg.SelectStmt):
        if _leaves_to_chance(select):
            own = {each.relname for each in postgast.find_nodes(select, pg.RangeVar)}
            yield _limit_of(select), everything if has_with else own


def _leaves_to_chance(select: Node) -> bool:
    is_limited = select.HasField("limit_count") and not select.sort_clause
    return is_limited and any(not _is_constant(each) for each in select.target_list)


def _is_constant(target: Node) -> bool:
    return bool(target.res_target.val.HasField("a_const"))


def _limit_of(select: Node) -> int:
    count = select.limit_count
    is_number = count.HasField("a_const") and count.a_const.HasField("ival")
    return int(count.a_const.ival.ival) if is_number else 1
