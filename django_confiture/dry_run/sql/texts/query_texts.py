"""The texts of queries that leave a production database: no value and no comment stays."""

from __future__ import annotations

import re
from collections.abc import Mapping

from django_confiture.dry_run.sql.parsing.library import postgast
from django_confiture.dry_run.sql.parsing.nodes import is_user_relation, node_field, range_vars_in
from django_confiture.dry_run.sql.parsing.parameters import positions_in
from django_confiture.dry_run.sql.parsing.rewrite import COMMENTS, CONSTANTS, WHOLE_NUMBERS

_PARAMETER = re.compile(r"\$\d+")
_TYPE_AND_PARAMETER = re.compile(
    r"(?<![.\w])(interval|date|timestamptz|timestamp|time) (\$\d+)", re.IGNORECASE
)
_EXTRACT = re.compile(r"(?<![.\w\"])extract\((\$\d+) from\b", re.IGNORECASE)
_MODIFIERS = re.compile(
    r"(?<![.\w\"])(numeric|decimal|dec|float|char(?:acter)?(?: varying)?|varchar"
    r"|bit(?: varying)?|timestamp|time|interval) ?\(\$\d+(?:, ?\$\d+)?\)",
    re.IGNORECASE,
)
_COLUMNS = 1664
"""A query has no more columns than that."""
_KINDS = ("delete_stmt", "insert_stmt", "merge_stmt", "select_stmt", "update_stmt")


def without_values(text: str) -> str | None:
    """Return a query with a parameter in place of each value, and without its comments.

    PostgreSQL normalizes what it counts, but not always: an entry that was evicted meanwhile keeps
    its values, and so does a comment. None where it is not one query about a table.
    """
    try:
        clean = _clean(text)
        statements = postgast.parse(clean).stmts
    except (postgast.PgQueryError, UnicodeError):
        return None
    if len(statements) != 1 or node_field(statements[0].stmt) not in _KINDS:
        return None
    return clean if any(map(is_user_relation, range_vars_in(statements[0].stmt))) else None


def _clean(text: str) -> str:
    source = text.encode()
    tokens = list(postgast.scan(text).tokens)
    written = [source[each.start : each.end].decode() for each in tokens]
    number = max((int(each[1:]) for each in written if _PARAMETER.fullmatch(each)), default=0)
    parts: list[str] = []
    whole: dict[str, str] = {}
    """Parameter → the whole number that it stands for."""
    end, space = 0, ""
    for token, own in zip(tokens, written, strict=True):
        space, end = " " if token.start > end else space, token.end
        if token.token in COMMENTS:
            space = " "
        elif token.token in CONSTANTS:
            number += 1
            parts.append(f"{space}${number}")
            space = ""
            if token.token in WHOLE_NUMBERS:
                whole[f"${number}"] = own
        else:
            parts.append(space + own)
            space = ""
    return _numbered(_with_positions(_as_prepared("".join(parts).strip()), whole))


def _with_positions(text: str, whole: Mapping[str, str]) -> str:
    """Return the text with those numbers that are no values: ``GROUP BY 1`` names a column."""
    places = {f"${each}" for each in positions_in(postgast.parse(text))}
    kept = {name: whole[name] for name in places & whole.keys() if int(whole[name]) <= _COLUMNS}
    return _PARAMETER.sub(lambda found: kept.get(found[0], found[0]), text)


def _as_prepared(text: str) -> str:
    """Return a text that ``PREPARE`` takes for one that only PostgreSQL's normalizing writes.

    It puts parameters where its own grammar takes none: ``interval $1``, ``extract($1 FROM at)``,
    ``numeric($1,$2)``.
    """
    text = _TYPE_AND_PARAMETER.sub(r"\2::\1", text)
    text = _EXTRACT.sub(r"pg_catalog.date_part(\1,", text)
    return _MODIFIERS.sub(r"\1", text)


def _numbered(text: str) -> str:
    """Number the parameters again: ``PREPARE`` asks for the type of each, used or not."""
    left = sorted({int(each[1:]) for each in _PARAMETER.findall(text)})
    new = {f"${old}": f"${number}" for number, old in enumerate(left, 1)}
    return _PARAMETER.sub(lambda found: new[found[0]], text)
