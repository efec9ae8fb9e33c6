"""``LIMIT`` without ``ORDER BY``: which rows a statement takes is left to where they lie."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from django_confiture.dry_run.sql.library import pg, postgast
from django_confiture.dry_run.sql.nodes import Node

if TYPE_CHECKING:
    from django_confiture.dry_run.sql.parser import Statement

_SUSPECT = re.compile(r"\b(?:LIMIT|FETCH)\b", re.IGNORECASE)
"""A tree is only looked into where the text may hold such a thing."""


def unordered_limit(statement: Statement) -> int | None:
    """Return the least number of rows that it is limited to so; None where no limit is unordered.

    A limit that is not a number in the text counts as 1. What returns constants alone, such as
    ``exists()``, takes no row rather than another.
    """
    if statement.node is None or not _SUSPECT.search(statement.sql):
        return None
    selects = postgast.find_nodes(statement.node, pg.SelectStmt)
    return min((_rows(each) for each in selects if _leaves_to_chance(each)), default=None)


def _leaves_to_chance(select: Node) -> bool:
    is_limited = select.HasField("limit_count") and not select.sort_clause
    return is_limited and any(not _is_constant(each) for each in select.target_list)


def _is_constant(target: Node) -> bool:
    return bool(target.res_target.val.HasField("a_const"))


def _rows(select: Node) -> int:
    count = select.limit_count
    is_number = count.HasField("a_const") and count.a_const.HasField("ival")
    return int(count.a_const.ival.ival) if is_number else 1
