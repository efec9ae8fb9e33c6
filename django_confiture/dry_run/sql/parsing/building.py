"""SQL made from nodes of the parse tree: statements changed or put together, then deparsed."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from django_confiture.dry_run.sql.parsing.enums import AlterTableType, DropBehavior, ObjectType
from django_confiture.dry_run.sql.parsing.library import pg, postgast
from django_confiture.dry_run.sql.parsing.nodes import Node, definition


def copied(node: Node) -> Node:
    """Return a copy of a node, to change."""
    copy = type(node)()
    copy.CopyFrom(node)
    return copy


def changed(node: Node, **fields: object) -> Node:
    """Return a copy of a node with some of its fields changed."""
    copy = copied(node)
    for name, value in fields.items():
        setattr(copy, name, value)
    return copy


def statement_sql(statement: Node) -> str:
    """Return the SQL of a statement's own node."""
    node = pg.Node()
    field = next(
        each.name
        for each in pg.Node.DESCRIPTOR.fields
        if each.message_type.name == type(statement).__name__
    )
    getattr(node, field).CopyFrom(statement)
    return str(postgast.deparse(pg.ParseResult(stmts=[pg.RawStmt(stmt=node)])))


def expression_sql(expression: Node) -> str:
    """Return the SQL of an expression."""
    parsed = postgast.parse("SELECT 1")
    parsed.stmts[0].stmt.select_stmt.target_list[0].res_target.val.CopyFrom(expression)
    return str(postgast.deparse(parsed)).removeprefix("SELECT ")


def type_sql(type_name: Node) -> str:
    """Return the SQL of a type."""
    parsed = postgast.parse("SELECT NULL::int")
    cast_node = parsed.stmts[0].stmt.select_stmt.target_list[0].res_target.val.type_cast
    cast_node.type_name.CopyFrom(type_name)
    return str(postgast.deparse(parsed)).removeprefix("SELECT NULL::")


def in_schema(create_index: str, schema: str) -> str:
    """Return a CREATE INDEX on the table of the same name in another schema."""
    tree = postgast.parse(create_index)
    tree.stmts[0].stmt.index_stmt.relation.schemaname = schema
    return str(postgast.deparse(tree))


def without_schemas(node: Node) -> Node:
    """Return a copy of a node in which no relation has a schema."""
    copy = copied(node)
    for each in postgast.find_nodes(copy, pg.RangeVar):
        each.schemaname = ""
    return copy


def columns_renamed(node: Node, names: Mapping[str, str]) -> Node:
    """Return a copy of an index or a constraint that is about other columns: old → new name."""
    copy = copied(node)
    for each in postgast.find_nodes(copy, pg.ColumnRef):
        if each.fields and each.fields[-1].string.sval in names:
            each.fields[-1].string.sval = names[each.fields[-1].string.sval]
    for each in postgast.find_nodes(copy, pg.IndexElem):
        each.name = names.get(each.name, each.name)
    return copy


def constraint_of(constraint: Node, names: Mapping[str, str]) -> Node:
    """Return a copy of a table's constraint that is about others of its columns instead."""
    copy = columns_renamed(constraint, names)
    for each in (*copy.keys, *copy.fk_attrs, *copy.including):
        each.string.sval = names.get(each.string.sval, each.string.sval)
    return copy


def references_renamed(constraint: Node, names: Mapping[str, str]) -> Node:
    """Return a copy of a foreign key that refers to other columns: old → new name."""
    copy = copied(constraint)
    for each in copy.pk_attrs:
        each.string.sval = names.get(each.string.sval, each.string.sval)
    return copy


# ALTER TABLE.


def alter_table_sql(relation: Node, *subcommands: Node) -> str:
    """Return the SQL of an ALTER TABLE with these subcommands."""
    node = pg.AlterTableStmt(objtype=int(ObjectType.TABLE))
    node.relation.CopyFrom(relation)
    for each in subcommands:
        node.cmds.add().alter_table_cmd.CopyFrom(each)
    return statement_sql(node)


def add_constraint(constraint: Node) -> Node:
    """Return the subcommand ADD CONSTRAINT."""
    subcommand = _subcommand(AlterTableType.AddConstraint)
    definition(subcommand).constraint.CopyFrom(constraint)
    return subcommand


def _subcommand(subtype: AlterTableType, name: str = "") -> Node:
    return pg.AlterTableCmd(subtype=int(subtype), name=name, behavior=int(DropBehavior.RESTRICT))


def constraint_sql(constraint: Node) -> str:
    """Return a constraint's definition, as it stands behind its name."""
    unnamed = add_constraint(changed(constraint, conname=""))
    relation = pg.RangeVar(relname="t", inh=True, relpersistence="p")
    return alter_table_sql(relation, unnamed).removeprefix("ALTER TABLE t ADD ")


def not_valid(constraint: Node, name: str) -> Node:
    """Return a constraint under a name and NOT VALID: only new rows have to obey it."""
    return changed(constraint, conname=name, skip_validation=True, initially_valid=False)


def without_constraints(add_column: Node, kinds: Collection[int]) -> Node:
    """Return the subcommand ADD COLUMN without the column's constraints of some kinds."""
    copy = copied(add_column)
    column = definition(copy).column_def
    kept = [each for each in column.constraints if each.constraint.contype not in kinds]
    del column.constraints[:]
    column.constraints.extend(kept)
    return copy


def set_default(column: Node, default: Node) -> Node:
    """Return the subcommand ALTER COLUMN ... SET DEFAULT for the DEFAULT in a definition."""
    subcommand = _subcommand(AlterTableType.ColumnDefault, column.colname)
    definition(subcommand).CopyFrom(default.raw_expr)
    return subcommand


def foreign_key_of(column: str, constraint: Node, *, deferrable: bool, deferred: bool) -> Node:
    """Return the REFERENCES of a column's definition as a constraint of its table."""
    copy = changed(constraint, deferrable=deferrable, initdeferred=deferred)
    copy.fk_attrs.add().string.sval = column
    return copy


def foreign_key_renamed(
    constraint: Node, tables: Mapping[str, str], columns: Mapping[str, str]
) -> Node:
    """Return a copy of a foreign key with other names: old name → new one."""
    copy = copied(constraint)
    copy.pktable.relname = tables.get(copy.pktable.relname, copy.pktable.relname)
    for each in (*copy.fk_attrs, *copy.pk_attrs):
        each.string.sval = columns.get(each.string.sval, each.string.sval)
    return copy
