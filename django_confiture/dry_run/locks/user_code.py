"""Which statements run code of users, and so can lock and write more than their text says."""

from __future__ import annotations

from django_confiture.dry_run.locks.catalog import Lookup
from django_confiture.dry_run.sql.nodes import Node, functions_called_in, node_field, tags_in

#: Code that the statement holds, calls or loads. ALTER TABLE ALL IN TABLESPACE names no table.
_CODE = frozenset(
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

#: Functions of PostgreSQL's own that run a query which is given to them as text.
_RUNNING_TEXT = frozenset(
    {
        "query_to_xml",
        "query_to_xmlschema",
        "query_to_xml_and_xmlschema",
        "ts_rewrite",
        "ts_stat",
    }
)


def runs_user_code(node: Node, lookup: Lookup) -> bool:
    """Tell whether the statement runs code that its text does not show.

    That is DO, CALL, EXECUTE, and an expression with a function that is written in SQL or a
    procedural language. Such code in a trigger, an operator, a view, or a default that is there
    already is not looked for; neither is a built-in function that runs a query handed to it as
    text, such as ``query_to_xml``.
    """
    kind = node_field(node)
    if kind in _CODE:
        return True
    if not kind or kind in _STORING:
        return False
    if "ExecuteStmt" in tags_in(node):  # EXPLAIN ANALYZE EXECUTE, CREATE TABLE AS EXECUTE
        return True
    return lookup.has_user_function(functions_called_in(node))
