"""What IF NOT EXISTS would have made, as statements that make it somewhere else."""

from __future__ import annotations

from django_confiture.dry_run.sql.parsing.building import copied, statement_sql
from django_confiture.dry_run.sql.parsing.enums import AlterTableType, ConstrType
from django_confiture.dry_run.sql.parsing.nodes import (
    Node,
    added_constraint,
    column_def,
    node_field,
    unwrapped,
)

_OF_THE_COLUMN = {
    ConstrType.NOTNULL,
    ConstrType.DEFAULT,
    ConstrType.IDENTITY,
    ConstrType.GENERATED,
    ConstrType.PRIMARY,
}


def index_elsewhere(create_index: Node, schema: str, table: str) -> str:
    """Return a CREATE INDEX on another table."""
    node = copied(create_index)
    node.if_not_exists = node.concurrent = False
    node.ClearField("table_space")
    _move(node, schema, table)
    return statement_sql(node)


def table_elsewhere(create_table: Node, schema: str, table: str) -> str:
    """Return a CREATE TABLE under another name, columns alone; ``""`` where it has none."""
    node = copied(create_table)
    if node.inh_relations or node.HasField("partbound") or node.HasField("of_typename"):
        return ""
    node.if_not_exists = False
    node.oncommit = 0
    _move(node, schema, table)
    columns = [each for each in node.table_elts if node_field(each) == "column_def"]
    if not columns:
        return ""
    for each in columns:
        _only_shape(each.column_def)
    kept = [copied(each) for each in columns]
    del node.table_elts[:]
    node.table_elts.extend(kept)
    return statement_sql(node)


def columns_elsewhere(
    alter_table: Node, schema: str, table: str, *, always: bool = False
) -> list[tuple[str, str]]:
    """Return (column, ALTER TABLE of another table) for each ADD COLUMN IF NOT EXISTS.

    ``always`` says that it may be skipped without those words.
    """
    found = []
    for index, each in enumerate(alter_table.cmds):
        command = each.alter_table_cmd
        column = column_def(command)
        may_skip = command.missing_ok or always
        if command.subtype != AlterTableType.AddColumn or not may_skip or column is None:
            continue
        node = copied(alter_table)
        kept = copied(alter_table.cmds[index])
        kept.alter_table_cmd.missing_ok = False
        _only_shape(column_def(kept.alter_table_cmd))
        del node.cmds[:]
        node.cmds.extend([kept])
        _move(node, schema, table)
        found.append((column.colname, statement_sql(node)))
    return found


def constraints_elsewhere(alter_table: Node, schema: str, table: str) -> list[tuple[Node, str]]:
    """Return (constraint, ALTER TABLE of another table) for each ADD CONSTRAINT with a name."""
    found = []
    for index, each in enumerate(alter_table.cmds):
        constraint = added_constraint(each.alter_table_cmd)
        if constraint is None or not constraint.conname or constraint.indexname:
            continue
        node = copied(alter_table)
        kept = copied(alter_table.cmds[index])
        del node.cmds[:]
        node.cmds.extend([kept])
        _move(node, schema, table)
        found.append((constraint, statement_sql(node)))
    return found


def table_kind(create: Node) -> str:
    """Return what kind of table a CREATE TABLE makes, such as ``table partition of events``."""
    unlogged = "unlogged" if create.relation.relpersistence == "u" else ""
    partitioned = "partitioned" if create.HasField("partspec") else ""
    parent = ""
    if create.HasField("partbound"):
        parent = f"partition of {create.inh_relations[0].range_var.relname}"
    return " ".join(filter(None, [unlogged, partitioned, "table", parent]))


def sequence_elsewhere(create_sequence: Node, schema: str, name: str) -> str:
    """Return a CREATE SEQUENCE under another name, that no column owns."""
    node = copied(create_sequence)
    node.if_not_exists = False
    node.sequence.schemaname, node.sequence.relname = schema, name
    kept = [copied(each) for each in node.options if each.def_elem.defname != "owned_by"]
    del node.options[:]
    node.options.extend(kept)
    return statement_sql(node)


def query_of(create_as: Node) -> str:
    """Return the query of a CREATE TABLE AS or CREATE MATERIALIZED VIEW."""
    return statement_sql(unwrapped(create_as.query))


def _move(node: Node, schema: str, table: str) -> None:
    node.relation.schemaname = schema
    node.relation.relname = table
    node.relation.relpersistence = "p"
    node.relation.catalogname = ""


def _only_shape(column: Node) -> None:
    kept = [
        copied(each) for each in column.constraints if each.constraint.contype in _OF_THE_COLUMN
    ]
    del column.constraints[:]
    column.constraints.extend(kept)
