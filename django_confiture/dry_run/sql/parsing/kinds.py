"""What kind of statement a node of the parser is, and where PostgreSQL lets it run."""

from __future__ import annotations

from enum import Enum, auto

from django_confiture.dry_run.sql.parsing.enums import ReindexObjectType
from django_confiture.dry_run.sql.parsing.library import pg
from django_confiture.dry_run.sql.parsing.nodes import (
    Node,
    definition,
    node_field,
    subcommands,
    tags_in,
)

_DML = {"insert_stmt", "update_stmt", "delete_stmt", "merge_stmt", "copy_stmt"}
_WRITERS = {"InsertStmt", "UpdateStmt", "DeleteStmt", "MergeStmt"}
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
SAVEPOINTS = {
    pg.TRANS_STMT_SAVEPOINT: "SAVEPOINT",
    pg.TRANS_STMT_RELEASE: "RELEASE SAVEPOINT",
    pg.TRANS_STMT_ROLLBACK_TO: "ROLLBACK TO SAVEPOINT",
}
"""Each with its name in PostgreSQL's messages."""
_SECOND_PHASE = {pg.TRANS_STMT_COMMIT_PREPARED, pg.TRANS_STMT_ROLLBACK_PREPARED}
BEGINS = {pg.TRANS_STMT_BEGIN, pg.TRANS_STMT_START}
COMMITS = {pg.TRANS_STMT_COMMIT, pg.TRANS_STMT_PREPARE}
_WHOLE_DATABASE = {
    ReindexObjectType.SCHEMA,
    ReindexObjectType.SYSTEM,
    ReindexObjectType.DATABASE,
}


class Kind(Enum):
    """What the recorder has to do about a statement."""

    DDL = auto()
    DML = auto()
    SELECT = auto()
    OPAQUE = auto()
    """Runs code that the text does not show: DO, CALL, a function in a SELECT.

    The text alone does not tell a function of PostgreSQL's own from one that a user wrote; the
    catalog does (:mod:`django_confiture.dry_run.locks.user_code`).
    """
    QUIET = auto()
    """SET, SHOW, FETCH and the like: neither locks nor rows of its own."""
    SAVEPOINT = auto()
    TRANSACTION = auto()
    """BEGIN, COMMIT, ROLLBACK, PREPARE TRANSACTION."""
    UNPARSED = auto()
    UNSEEN = auto()
    """Whatever reached the server without being caught: known by what it did alone."""


def kind_of(node: Node) -> Kind:
    """Return what has to be done about a statement."""
    name = node_field(node)
    if name == "transaction_stmt":
        return _kind_of_control(node.transaction_stmt.kind)
    if name in _QUIET:
        return Kind.QUIET
    if name in _DML:
        return Kind.DML
    if name in HIDING or name == "explain_stmt":
        return Kind.OPAQUE  # EXPLAIN ANALYZE runs what it explains
    if name == "select_stmt":
        return _kind_of_select(node)
    return Kind.DDL


def _kind_of_control(kind: int) -> Kind:
    if kind in _SECOND_PHASE:
        return Kind.DDL  # it ends another transaction than its own
    return Kind.SAVEPOINT if kind in SAVEPOINTS else Kind.TRANSACTION


def _kind_of_select(node: Node) -> Kind:
    if node.select_stmt.HasField("into_clause"):
        return Kind.DDL
    tags = tags_in(node)
    if tags & _WRITERS:
        return Kind.DML  # WITH x AS (UPDATE … RETURNING …) SELECT …
    return Kind.OPAQUE if "FuncCall" in tags else Kind.SELECT


def is_concurrent(node: Node) -> bool:
    """Return whether it has the keyword CONCURRENTLY."""
    name = node_field(node)
    if name == "index_stmt":
        return bool(node.index_stmt.concurrent)
    if name == "drop_stmt":
        return bool(node.drop_stmt.concurrent)
    if name == "reindex_stmt" and node.reindex_stmt.kind not in _WHOLE_DATABASE:
        return any(p.def_elem.defname == "concurrently" for p in node.reindex_stmt.params)
    if name == "alter_table_stmt":
        commands = subcommands(node.alter_table_stmt)
        return any(definition(command).partition_cmd.concurrent for command in commands)
    return False


def outside_transaction(node: Node) -> bool:
    """Return whether PostgreSQL refuses it inside a transaction."""
    name = node_field(node)
    if name == "vacuum_stmt":
        return bool(node.vacuum_stmt.is_vacuumcmd)
    if name == "reindex_stmt" and node.reindex_stmt.kind in _WHOLE_DATABASE:
        return True
    if name == "transaction_stmt":
        return node.transaction_stmt.kind in _SECOND_PHASE
    if name == "discard_stmt":
        return bool(node.discard_stmt.target == pg.DISCARD_ALL)
    if name == "cluster_stmt":
        return not node.cluster_stmt.HasField("relation")
    return name in NEVER_IN_TRANSACTION or is_concurrent(node) or moves_database(node)


def moves_database(node: Node) -> bool:
    """Return whether it is ALTER DATABASE … SET TABLESPACE."""
    if node is None or node_field(node) != "alter_database_stmt":
        return False
    options = node.alter_database_stmt.options
    return any(each.def_elem.defname == "tablespace" for each in options)
