"""Which statements can lock more than their text says."""

from postgast import pg_query_pb2 as pb
from postgast import walk

from django_confiture.dry_run.locks.catalog import Lookup
from django_confiture.dry_run.locks.rules.base import split_name

#: Code that the statement holds, calls or loads. ALTER TABLE ALL IN TABLESPACE names no table.
_OPAQUE = frozenset(
    {
        "do_stmt",
        "call_stmt",
        "execute_stmt",
        "alter_extension_stmt",
        "import_foreign_schema_stmt",
        "alter_table_move_all_stmt",
    }
)

#: Statements that store an expression and do not run it.
_STORING = frozenset(
    {
        "create_function_stmt",
        "create_policy_stmt",
        "alter_policy_stmt",
        "create_trig_stmt",
        "prepare_stmt",
        "rule_stmt",
        "view_stmt",
    }
)


def is_opaque(node: pb.Node, lookup: Lookup) -> bool:
    """Tell whether the statement runs code that its text does not show.

    That is DO, CALL, EXECUTE, and an expression with a function that is written in SQL or a
    procedural language. Such code in a trigger, an operator, a view, or a default that is there
    already is not looked for; neither is a built-in function that runs a query handed to it as
    text, such as ``query_to_xml``.
    """
    kind = node.WhichOneof("node")
    if kind in _OPAQUE:
        return True
    if kind is None or kind in _STORING:
        return False
    names: set[str] = set()
    for _, message in walk(node):
        if isinstance(message, pb.ExecuteStmt):  # EXPLAIN ANALYZE EXECUTE, CREATE TABLE AS EXECUTE
            return True
        if isinstance(message, pb.FuncCall):
            schema, name = split_name(message.funcname)
            if schema != "pg_catalog":
                names.add(name)
    return lookup.has_user_function(names)
