"""Where the parameters of a query stand, by its parse tree."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from django_confiture.dry_run.sql.parsing.library import pg
from django_confiture.dry_run.sql.parsing.nodes import Node, has_field, nodes_in, unwrapped


def positions_in(tree: Node) -> Iterator[int]:
    """Yield the parameters that stand where a whole number would name a column."""
    for each in nodes_in(tree):
        if type(each) is pg.SelectStmt:
            items = (*_grouped(each), *_ordered(each), *each.distinct_clause)
            yield from (item.param_ref.number for item in items if item.HasField("param_ref"))


def parameters_at(tree: Node, location: int) -> Sequence[int]:
    """Return the parameters that a call or an operator at a place of the text is given.

    Those that are given as they are; if there are none, those further down.
    """
    for each in nodes_in(tree):
        if type(each) in (pg.FuncCall, pg.A_Expr) and each.location == location:
            given = each.args if type(each) is pg.FuncCall else (each.lexpr, each.rexpr)
            direct = [arg.param_ref.number for arg in given if arg.HasField("param_ref")]
            return direct or list(dict.fromkeys(_untyped(each)))
    return ()


def repeated(tree: Node) -> Mapping[int, int]:
    """Return the parameters of what is grouped or ordered by that a column has as well.

    Each with that of the column: as values, both were the same.
    """
    found: dict[int, int] = {}
    for each in nodes_in(tree):
        if type(each) is not pg.SelectStmt:
            continue
        known = {
            _masked(inner): _numbers(inner)
            for target in reversed(each.target_list)
            for inner in nodes_in(target.res_target.val)
        }
        for item in map(unwrapped, (*_grouped(each), *_ordered(each))):
            own = _numbers(item)
            if own:
                found.update(zip(own, known.setdefault(_masked(item), own), strict=True))
    return found


def _grouped(select: Node) -> Iterator[Node]:
    for item in select.group_clause:
        inner = unwrapped(item)
        yield from inner.content if type(inner) is pg.GroupingSet else (item,)


def _ordered(select: Node) -> Iterator[Node]:
    return (each.sort_by.node for each in select.sort_clause)


def _untyped(tree: Node) -> Iterator[int]:
    cast = {
        each.arg.param_ref.number
        for each in nodes_in(tree)
        if type(each) is pg.TypeCast and each.arg.HasField("param_ref")
    }
    return (number for number in _numbers(tree) if number not in cast)


def _numbers(tree: Node) -> Sequence[int]:
    return [each.number for each in nodes_in(tree) if type(each) is pg.ParamRef]


def _masked(tree: Node) -> bytes:
    """Return a tree without places and numbers of parameters, as a value that can be compared."""
    copy = type(tree)()
    copy.CopyFrom(tree)
    for each in nodes_in(copy):
        for name in ("location", "number"):
            if has_field(each, name):
                setattr(each, name, 0)
    said: bytes = copy.SerializeToString(deterministic=True)
    return type(tree).__name__.encode() + said
