"""The parse tree as the other rooms read it: nodes without the parser's classes.

A node is passed around as an opaque value. It has the fields of the struct of the same name in
PostgreSQL's ``parsenodes.h``. The values of its enums are in :mod:`.enums`; :mod:`.building` makes
SQL from nodes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, TypeAlias

from django_confiture.dry_run.sql.parsing.enums import RELATIONS, AlterTableType
from django_confiture.dry_run.sql.parsing.identifiers import qualified_name
from django_confiture.dry_run.sql.parsing.library import pg, postgast

Node: TypeAlias = Any
"""A node of the parse tree; PostgreSQL has about 250 kinds of them."""

_SEVERAL = type(pg.SelectStmt().target_list)
"""What a field holds that has several nodes."""
_HAS_NODES: dict[type, bool] = {}
"""By the kind of a node, whether it has any field for nodes: names and constants have none."""


# Any node.


def node_tag(node: Node) -> str:
    """Return what a node is, by PostgreSQL's name: ``SelectStmt``, ``RangeVar``."""
    return str(unwrapped(node).DESCRIPTOR.name)


def node_field(node: Node) -> str:
    """Return the parser's name for what a wrapper holds, such as ``select_stmt``; ``""`` if not.

    Wherever several kinds of nodes may stand, the parser wraps the one that does.
    """
    return node.WhichOneof("node") or ""


def unwrapped(node: Node) -> Node:
    """Return the node that a wrapper holds; a node that is not wrapped, as it is."""
    return postgast.unwrap_node(node)


def children(node: Node) -> Iterator[tuple[str, Node]]:
    """Yield the fields of a node that hold nodes, each node with the field's name."""
    for field, value in node.ListFields():
        if field.message_type is not None:
            for child in value if isinstance(value, Iterable) else (value,):
                yield field.name, unwrapped(child)


def has_field(node: Node, name: str) -> bool:
    """Return whether nodes of this kind have a field of that name."""
    return name in node.DESCRIPTOR.fields_by_name


def nodes_in(node: Node) -> Iterator[Node]:
    """Yield all nodes of a tree, without wrappers, in the order of the text."""
    stack = [node]
    while stack:
        each = stack.pop()
        if type(each) is pg.Node and (held := each.WhichOneof("node")):
            each = getattr(each, held)
        yield each
        if not _has_nodes(type(each)):
            continue
        inner: list[Node] = []
        for field, value in each.ListFields():
            if type(value) is _SEVERAL:
                inner += value
            elif field.message_type is not None:
                inner.append(value)
        inner.reverse()
        stack += inner


def _has_nodes(kind: type[Node]) -> bool:
    if kind not in _HAS_NODES:
        fields = kind.DESCRIPTOR.fields
        _HAS_NODES[kind] = any(each.message_type is not None for each in fields)
    return _HAS_NODES[kind]


def tags_in(node: Node) -> set[str]:
    """Return the kinds of all nodes of a tree."""
    return {str(each.DESCRIPTOR.name) for each in nodes_in(node)}


def named_in(node: Node) -> tuple[tuple[Node, ...], frozenset[str]]:
    """Return what names a relation in a tree, and the functions that it calls, in one pass.

    FOR UPDATE OF is left out: it repeats names of its FROM.
    """
    relations, again, functions = [], set(), set()
    for each in nodes_in(node):
        kind = type(each)
        if kind is pg.RangeVar:
            relations.append(each)
        elif kind is pg.FuncCall:
            functions.add(strings(each.funcname)[-1])
        elif kind is pg.LockingClause:
            again |= {unwrapped(rel).location for rel in each.locked_rels}
    return tuple(e for e in relations if e.location not in again), frozenset(functions)


def range_vars_in(node: Node) -> Iterator[Node]:
    """Yield what names a relation in a tree."""
    relations, _functions = named_in(node)
    return iter(relations)


def function_calls_in(node: Node) -> Iterator[Node]:
    """Yield the calls of functions in a tree."""
    return (each for each in nodes_in(node) if type(each) is pg.FuncCall)


def functions_called_in(node: Node) -> set[str]:
    """Return the functions that a tree calls, without their schemas."""
    _relations, functions = named_in(node)
    return set(functions)


# Names.


def strings(nodes: Iterable[Node]) -> list[str]:
    """Return the texts of string nodes, such as the parts of a qualified name."""
    return [node.string.sval for node in nodes]


def schema_and_name(nodes: Iterable[Node]) -> tuple[str | None, str]:
    """Return (schema or None, name) of a qualified name."""
    *schema, name = strings(nodes)
    return (schema[-1] if schema else None), name


def quoted_relation(range_var: Node) -> str:
    """Return a relation's name, quoted; the database's name in front can only be our own."""
    return qualified_name(range_var.schemaname, range_var.relname)


def names_shown(range_var: Node) -> list[str]:
    """Return how reports may print a relation, as written first."""
    qualified = f"{range_var.schemaname}.{range_var.relname}"
    return [qualified, range_var.relname] if range_var.schemaname else [range_var.relname]


def written_name(range_var: Node) -> str:
    """Return a relation's name as the statement has it."""
    return names_shown(range_var)[0]


def is_user_relation(range_var: Node) -> bool:
    """Return whether it names a relation that is none of PostgreSQL's own."""
    return range_var.schemaname not in {
        "pg_catalog",
        "information_schema",
    } and not range_var.relname.startswith("pg_")


def names_relation(node: Node) -> bool:
    """Return whether a statement is about a table, view, index or sequence, or a part of one."""
    node = unwrapped(node)
    if node_tag(node) == "DropStmt":
        return node.remove_type in RELATIONS
    return has_field(node, "relation") and node.HasField("relation")


def dropped_relations(drop: Node) -> Iterator[Node]:
    """Yield the relations of a DROP as range variables."""
    for each in drop.objects:
        parts = strings(each.list.items)
        if parts:
            yield pg.RangeVar(relname=parts[-1], schemaname=parts[-2] if len(parts) > 1 else "")


# Options.


def option_is_on(options: Iterable[Node], name: str) -> bool:
    """Return whether a parenthesized option such as ``(FULL)`` or ``(FULL off)`` is on."""
    for option in (node.def_elem for node in options):
        if option.defname == name:
            kind = option.arg.WhichOneof("node")
            if kind == "string":
                return option.arg.string.sval not in {"false", "off"}
            return kind is None or option.arg.integer.ival != 0
    return False


def constant_text(node: Node) -> str:
    """Return a constant as it is written, ``""`` for a parameter or an expression."""
    constant = node.a_const
    kind = constant.WhichOneof("val")
    if kind == "sval":
        return str(constant.sval.sval)
    return str(constant.fval.fval if kind == "fval" else constant.ival.ival) if kind else ""


# ALTER TABLE and definitions of columns.


def subcommands(alter_table: Node) -> Iterator[Node]:
    """Yield the subcommands of an ALTER TABLE."""
    for each in alter_table.cmds:
        yield each.alter_table_cmd


def definition(subcommand: Node) -> Node:
    """Return what a subcommand adds or changes; its field is named by a keyword of Python's."""
    return getattr(subcommand, "def")


def column_def(subcommand: Node) -> Node | None:
    """Return the column that a subcommand adds or alters; None where it does not."""
    inner = definition(subcommand)
    return inner.column_def if node_field(inner) == "column_def" else None


def added_constraint(subcommand: Node) -> Node | None:
    """Return the constraint that a subcommand adds; None where it adds none."""
    if subcommand.subtype != AlterTableType.AddConstraint:
        return None
    return definition(subcommand).constraint


def constraints_of_column(column: Node) -> Mapping[int, Node]:
    """Return the constraints in a column's definition, by :class:`.enums.ConstrType`."""
    return {each.constraint.contype: each.constraint for each in column.constraints}


def type_name(column: Node) -> str:
    """Return a column's type without its schema."""
    parts = strings(column.type_name.names)
    return parts[-1] if parts else ""


def quoted_type(type_name: Node) -> str:
    """Return a type's name for ``to_regtype``, without its modifier."""
    return qualified_name(*strings(type_name.names)) + "[]" * len(type_name.array_bounds)


def columns_in(node: Node) -> set[str]:
    """Return the names of the columns that a piece of a statement reads."""
    references = postgast.find_nodes(node, pg.ColumnRef)
    return {each.fields[-1].string.sval for each in references if each.fields}
