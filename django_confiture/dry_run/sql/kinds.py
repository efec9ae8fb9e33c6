"""What kind of statement a node of the parser is, and where PostgreSQL lets it run."""

from __future__ import annotations

from collections.abc import Iterator
from enum import Enum, auto
from typing import Any

from postgast import pg_query_pb2 as pg

_DML = {"insert_stmt", "update_stmt", "delete_stmt", "merge_stmt", "copy_stmt"}
_QUIET = {
    "variable_set_stmt", "variable_show_stmt", "constraints_set_stmt", "fetch_stmt",
    "close_portal_stmt", "declare_cursor_stmt", "listen_stmt", "unlisten_stmt", "notify_stmt",
    "prepare_stmt", "deallocate_stmt", "load_stmt",
}  # fmt: skip
HIDING = {"do_stmt", "call_stmt", "execute_stmt"}
NEVER_IN_TRANSACTION = {
    "createdb_stmt", "dropdb_stmt", "create_table_space_stmt", "drop_table_space_stmt",
    "alter_system_stmt", "create_subscription_stmt", "drop_subscription_stmt",
}  # fmt: skip
WITHOUT_ROWS = {
    "alter_seq_stmt", "comment_stmt", "create_seq_stmt", "create_stmt", "drop_stmt", "rename_stmt",
}  # fmt: skip
_SAVEPOINTS = {pg.TRANS_STMT_SAVEPOINT, pg.TRANS_STMT_RELEASE, pg.TRANS_STMT_ROLLBACK_TO}
BEGINS = {pg.TRANS_STMT_BEGIN, pg.TRANS_STMT_START}
COMMITS = {pg.TRANS_STMT_COMMIT, pg.TRANS_STMT_PREPARE}
_WHOLE_DATABASE = {
    pg.REINDEX_OBJECT_SCHEMA,
    pg.REINDEX_OBJECT_SYSTEM,
    pg.REINDEX_OBJECT_DATABASE,
}


class Kind(Enum):
    """What the recorder has to do about a statement."""

    DDL = auto()
    DML = auto()
    SELECT = auto()
    OPAQUE = auto()
    """Runs code that the text does not show: DO, CALL, a function in a SELECT."""
    QUIET = auto()
    """SET, SHOW, FETCH and the like: neither locks nor rows of its own."""
    SAVEPOINT = auto()
    TRANSACTION = auto()
    """BEGIN, COMMIT, ROLLBACK, PREPARE TRANSACTION; also DISCARD, which ends temporary tables."""
    UNPARSED = auto()


def name_of(node: Any) -> str:
    """The node's name in the parser."""
    return node.WhichOneof("node") or ""


def kind_of(node: Any) -> Kind:
    """Return what has to be done about a statement."""
    name = name_of(node)
    if name == "transaction_stmt":
        return Kind.SAVEPOINT if node.transaction_stmt.kind in _SAVEPOINTS else Kind.TRANSACTION
    if name == "discard_stmt":
        return Kind.TRANSACTION
    if name in _QUIET:
        return Kind.QUIET
    if name in _DML:
        return Kind.DML
    if name in HIDING or name == "explain_stmt":
        return Kind.OPAQUE  # EXPLAIN ANALYZE runs what it explains
    if name == "select_stmt":
        return _kind_of_select(node)
    return Kind.DDL


def _kind_of_select(node: Any) -> Kind:
    if node.select_stmt.HasField("into_clause"):
        return Kind.DDL
    names = {name_of(each) for each in walk(node)}
    if names & _DML:
        return Kind.DML  # WITH x AS (UPDATE … RETURNING …) SELECT …
    return Kind.OPAQUE if "func_call" in names else Kind.SELECT


def walk(node: Any) -> Iterator[Any]:
    """Yield every ``Node`` below ``node``, itself included."""
    if isinstance(node, pg.Node):
        yield node
    for descriptor, value in node.ListFields():
        if descriptor.message_type is None:
            continue
        for child in value if descriptor.is_repeated else (value,):
            yield from walk(child)


def reads_user_tables(node: Any) -> bool:
    """Say whether it names a table that is none of PostgreSQL's own."""
    return any(
        name_of(each) == "range_var"
        and each.range_var.schemaname not in {"pg_catalog", "information_schema"}
        and not each.range_var.relname.startswith("pg_")
        for each in walk(node)
    )


def is_concurrent(node: Any) -> bool:
    """Say whether it has the keyword CONCURRENTLY."""
    name = name_of(node)
    if name == "index_stmt":
        return bool(node.index_stmt.concurrent)
    if name == "drop_stmt":
        return bool(node.drop_stmt.concurrent)
    if name == "reindex_stmt" and node.reindex_stmt.kind not in _WHOLE_DATABASE:
        return any(p.def_elem.defname == "concurrently" for p in node.reindex_stmt.params)
    if name == "alter_table_stmt":
        # "def" is a keyword of Python's, so the field needs getattr.
        return any(
            getattr(command.alter_table_cmd, "def").partition_cmd.concurrent
            for command in node.alter_table_stmt.cmds
        )
    return False


def outside_transaction(node: Any) -> bool:
    """Say whether PostgreSQL refuses it inside a transaction."""
    name = name_of(node)
    if name == "vacuum_stmt":
        return bool(node.vacuum_stmt.is_vacuumcmd)
    if name == "reindex_stmt" and node.reindex_stmt.kind in _WHOLE_DATABASE:
        return True
    if name == "cluster_stmt":
        return not node.cluster_stmt.HasField("relation")
    return name in NEVER_IN_TRANSACTION or is_concurrent(node) or moves_database(node)


def moves_database(node: Any) -> bool:
    """Say whether it is ALTER DATABASE … SET TABLESPACE."""
    options = node.alter_database_stmt.options if node is not None else ()
    return any(each.def_elem.defname == "tablespace" for each in options)
