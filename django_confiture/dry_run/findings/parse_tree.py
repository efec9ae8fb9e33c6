"""What the rules need to know of a parse tree."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import postgast
from postgast import pg_query_pb2 as pg

from django_confiture.dry_run.sql.rewrite import quoted


def names(range_var: Any) -> list[str]:
    """Return how reports may print a relation, as written first."""
    qualified = f"{range_var.schemaname}.{range_var.relname}"
    return [qualified, range_var.relname] if range_var.schemaname else [range_var.relname]


def written(range_var: Any) -> str:
    """Return a relation's name as the statement has it."""
    return names(range_var)[0]


def identifier(name: str) -> str:
    """Return a name, in double quotes where it needs them."""
    return name if re.fullmatch("[a-z_][a-z0-9_]*", name) else quoted(name)


def clauses(node: Any) -> Iterator[Any]:
    """Yield the subcommands of an ALTER TABLE."""
    for each in node.cmds:
        yield each.alter_table_cmd


def definition(clause: Any, kind: str) -> Any:
    """Return a subcommand's ``column_def``, ``constraint`` or ``partition_cmd``; None if other."""
    inner = getattr(clause, "def")  # a keyword of Python's
    return getattr(inner, kind) if inner.WhichOneof("node") == kind else None


def constraints(column: Any) -> dict[int, Any]:
    """Return the constraints in a column's definition, by type."""
    return {each.constraint.contype: each.constraint for each in column.constraints}


def type_name(column: Any) -> str:
    """Return a column's type without its schema."""
    parts = [each.string.sval for each in column.type_name.names]
    return parts[-1] if parts else ""


def calls_function(expression: Any) -> bool:
    """Say whether an expression calls a function."""
    return any(isinstance(message, pg.FuncCall) for _, message in postgast.walk(expression))


def dropped(node: Any) -> Iterator[Any]:
    """Yield the relations of a DROP as range variables."""
    for each in node.objects:
        parts = [item.string.sval for item in each.list.items]
        if parts:
            yield pg.RangeVar(relname=parts[-1], schemaname=parts[-2] if len(parts) > 1 else "")


def is_concurrent(node: Any) -> bool:
    """Say whether a REINDEX has the option."""
    return any(each.def_elem.defname == "concurrently" for each in node.params)


def sql(message: Any, **changes: Any) -> str:
    """Return a statement's SQL with some of its fields changed."""
    changed = copied(message)
    for name, value in changes.items():
        setattr(changed, name, value)
    return deparse(changed)


def copied(message: Any) -> Any:
    """Return a copy of a node, to change."""
    copy = type(message)()
    copy.CopyFrom(message)
    return copy


def deparse(message: Any) -> str:
    """Return the SQL of a statement's own node."""
    node = pg.Node()
    field = next(
        each.name
        for each in pg.Node.DESCRIPTOR.fields
        if each.message_type.name == type(message).__name__
    )
    getattr(node, field).CopyFrom(message)
    return str(postgast.deparse(pg.ParseResult(stmts=[pg.RawStmt(stmt=node)])))


def alter(relation: Any, *subcommands: Any) -> str:
    """Return the SQL of an ALTER TABLE with these subcommands."""
    node = pg.AlterTableStmt(objtype=pg.OBJECT_TABLE)
    node.relation.CopyFrom(relation)
    for each in subcommands:
        node.cmds.add().alter_table_cmd.CopyFrom(each)
    return deparse(node)


def add_constraint(constraint: Any) -> Any:
    """Return the subcommand ADD CONSTRAINT."""
    clause = pg.AlterTableCmd(subtype=pg.AT_AddConstraint, behavior=pg.DROP_RESTRICT)
    getattr(clause, "def").constraint.CopyFrom(constraint)
    return clause


def not_valid(constraint: Any, name: str) -> Any:
    """Return a constraint under a name and NOT VALID: only new rows have to obey it."""
    changed = copied(constraint)
    changed.conname = name
    changed.skip_validation = True
    changed.initially_valid = False
    return changed
