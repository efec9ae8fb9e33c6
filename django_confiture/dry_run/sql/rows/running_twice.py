"""Whether an UPDATE that runs a second time leaves the rows as the first time did."""

from __future__ import annotations

import re
from collections.abc import Iterator

from django_confiture.dry_run.sql.parsing.library import pg
from django_confiture.dry_run.sql.parsing.nodes import Node, columns_in, has_field

_CASES = {"lower", "upper"}
_TRIMS = {"btrim", "ltrim", "rtrim"}
_KEY = re.compile(r"[A-Za-z_]+")
_TIMES = {"allballs", "epoch", "inf", "infinity", "nan", "now", "today", "tomorrow", "yesterday"}
"""The texts without digits that other types can subtract."""
_OF_ONE = {"abs", "ceil", "floor", "round"}


def can_run_twice(node: Node) -> bool:
    """Return whether each column is set to what it doesn't read, or to what stays the same."""
    if not has_field(node, "target_list"):
        return True
    targets = [each.res_target for each in node.target_list]
    columns = {each.name for each in targets}
    return all(_sets_the_same_again(each, columns) for each in targets)


def _sets_the_same_again(target: Node, columns: set[str]) -> bool:
    read = columns & columns_in(target.val)
    return not read or (read == {target.name} and _is_stable(target.val))


def _is_stable(node: Node) -> bool:
    """Return whether an expression of one column gives its own result for its result.

    An unknown one, or an unknown mixture, does not.
    """
    if node.HasField("a_expr") and node.a_expr.kind == pg.AEXPR_NULLIF:
        return not columns_in(node.a_expr.rexpr) and _is_stable(node.a_expr.lexpr)
    if node.HasField("case_expr"):
        return _is_stable_mapping(node.case_expr)
    name, args = _call(node)
    if name in _OF_ONE and len(args) == 1:
        return _is_column(args[0])
    if name == "left":
        # Of a negative number it takes away as many characters again.
        length = args[1].a_const
        return _is_column(args[0]) and length.HasField("ival") and length.ival.ival >= 0
    return _is_folded(node, set()) or _is_document(node)


def _is_document(node: Node) -> bool:
    """Return whether it is a JSON value of which keys are removed, or set to constants.

    A key without digits can be neither an index of an array nor a number or interval to subtract.
    """
    name, args = _call(node)
    if name == "jsonb_set":
        inner, path, *given = args
        constant = all(each.HasField("a_const") for each in given[1:])
        constant = constant and _constant_text(given[0]) is not None
        return constant and _is_path(path, most=1) and _is_document(inner)
    if not node.HasField("a_expr") or node.a_expr.kind != pg.AEXPR_OP:
        return _is_column(node)
    removed = node.a_expr.rexpr
    match [part.string.sval for part in node.a_expr.name]:
        case ["-"]:
            return _is_key(_constant_text(removed)) and _is_document(node.a_expr.lexpr)
        case ["#-"]:
            return _is_path(removed) and _is_document(node.a_expr.lexpr)
    return False


def _is_path(node: Node, most: int = 9) -> bool:
    text = _constant_text(node) or ""
    keys = text[1:-1].split(",")
    return (text[:1], text[-1:]) == ("{", "}") and len(keys) <= most and all(map(_is_key, keys))


def _is_key(text: str | None) -> bool:
    return bool(_KEY.fullmatch(text or "")) and (text or "").lower() not in _TIMES


def _is_folded(node: Node, cases: set[str]) -> bool:
    """Return whether it is a text in one case, trimmed, without some signs: in this order."""
    name, args = _call(node)
    if name in _CASES | _TRIMS and len(args) == 1:
        cases |= {name} & _CASES
        return len(cases) < 2 and _is_folded(args[0], cases)
    while name == "replace" and _removes_a_sign(args):
        node = args[0]
        name, args = _call(node)
    if node.HasField("coalesce_expr"):
        first, *others = node.coalesce_expr.args
        return _is_column(first) and not any(columns_in(each) for each in others)
    return _is_column(node)


def _removes_a_sign(args: list[Node]) -> bool:
    """Return whether what ``replace`` removes can't come from another case, or from its removal."""
    sign, new = (_constant_text(each) for each in args[1:])
    if sign is None or len(sign) != 1 or new != "":
        return False
    return sign.isascii() and not sign.isalpha()


def _is_stable_mapping(case: Node) -> bool:
    """Return whether it puts constants for constants, and would put each result for itself."""
    mapped: list[tuple[str, str]] = []
    if case.HasField("arg") or not _is_column(case.defresult):
        return False
    for each in case.args:
        condition = each.case_when.expr.a_expr
        if condition.kind not in (pg.AEXPR_OP, pg.AEXPR_IN) or not _is_column(condition.lexpr):
            return False
        if [part.string.sval for part in condition.name] != ["="]:
            return False
        result = _constant_text(each.case_when.result)
        replaced = [_constant_text(value) for value in _values(condition.rexpr)]
        if result is None or None in replaced:
            return False
        mapped += [(value or "", result) for value in replaced]
    return not any(
        may_be_equal(result, value) and result != other
        for _, result in mapped
        for value, other in mapped
    )


def may_be_equal(one: str, other: str) -> bool:
    """Return whether some type of a column holds both to be equal: citext, char(n), a number."""
    try:
        return float(one) == float(other)
    except ValueError:
        return one.rstrip().casefold() == other.rstrip().casefold()


def _values(node: Node) -> Iterator[Node]:
    yield from node.list.items if node.HasField("list") else [node]


def _call(node: Node) -> tuple[str, list[Node]]:
    if not node.HasField("func_call"):
        return "", []
    *schema, name = [each.string.sval for each in node.func_call.funcname]
    return (name if schema in ([], ["pg_catalog"]) else ""), list(node.func_call.args)


def _is_column(node: Node) -> bool:
    return bool(node.HasField("column_ref"))


def _constant_text(node: Node) -> str | None:
    """Return the text of a constant, with or without its type."""
    while node.HasField("type_cast"):
        node = node.type_cast.arg
    constant = node.a_const
    return str(constant.sval.sval) if constant.HasField("sval") else None
