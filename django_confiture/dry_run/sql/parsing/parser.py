"""SQL as PostgreSQL's own parser reads it: a text becomes statements, and each says what it is.

``postgast`` is libpg_query 18, so it reads what PostgreSQL 14 to 18 read. Offsets are bytes of
the UTF-8 text, as the parser counts.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, lru_cache

from django_confiture.dry_run.sql.parsing.building import expression_sql, type_sql
from django_confiture.dry_run.sql.parsing.enums import AlterTableType, ConstrType
from django_confiture.dry_run.sql.parsing.kinds import (
    BEGINS,
    COMMITS,
    HIDING,
    NEVER_IN_TRANSACTION,
    SAVEPOINTS,
    WITHOUT_ROWS,
    Kind,
    is_concurrent,
    kind_of,
    moves_database,
    outside_transaction,
)
from django_confiture.dry_run.sql.parsing.library import DecodeError, pg, postgast
from django_confiture.dry_run.sql.parsing.nodes import (
    Node,
    added_constraint,
    column_def,
    function_calls_in,
    is_user_relation,
    named_in,
    node_field,
    quoted_relation,
    subcommands,
    tags_in,
)
from django_confiture.dry_run.sql.parsing.plpgsql import code_block
from django_confiture.dry_run.sql.parsing.rewrite import (
    count_positional,
    readable,
    without_concurrently,
)

__all__ = ["UNSEEN", "Kind", "Statement", "SyntaxUnknown", "parse"]

# Some places of the grammar take a literal only: COMMENT ... IS '', RESTART WITH 0.
_STAND_INS = ("$1", "''", "0")

_LOCKS_SEQUENCES = "pg_sequences"

_HOLD = 0x20
"""``CURSOR_OPT_HOLD`` in ``parsenodes.h``."""

SyntaxUnknown = postgast.PgQueryError
"""Raised where a text made of nodes, such as an expression, can't be written or read."""


@dataclass(frozen=True)
class Statement:
    """One statement of a script, placeholders as written."""

    sql: str
    kind: Kind
    node: Node = None
    """The parser's node; None where it could not read the statement."""
    parameters: int = 0
    """How many positional placeholders stand in it."""
    plain_sql: str | None = None
    """The form that can run in a transaction, if the statement itself can't."""
    outside_transaction: bool = False
    """True where PostgreSQL refuses the statement inside a transaction."""
    placeholders: bool = False
    """Whether psycopg replaces ``%s`` and ``%%`` in it."""
    cursor_of_driver: str = ""
    """The cursor WITH HOLD that the driver declares for it."""

    @property
    def hides_code(self) -> bool:
        """Whether it runs statements that its text does not show: DO, CALL, EXECUTE."""
        return self.what in HIDING

    @property
    def may_meet_rows(self) -> bool:
        """Whether it is DDL that a row can stand in the way of."""
        return self.kind is Kind.DDL and self.what not in WITHOUT_ROWS

    @property
    def of_the_server(self) -> bool:
        """Whether it makes or changes something that is in no database: CREATE DATABASE."""
        return self.what in NEVER_IN_TRANSACTION or moves_database(self.node)

    @property
    def may_commit(self) -> bool:
        """Whether it runs code that may commit by itself, as far as the text tells."""
        if self.what == "call_stmt":
            return True
        if self.what != "do_stmt":
            return False
        block = code_block(self.sql)
        return block is None or block.may_commit

    @property
    def command(self) -> str:
        """The first word, upper case."""
        if self.kind is Kind.UNSEEN:
            return "SQL that was not caught"
        words = self.sql.split(maxsplit=1)
        return words[0].upper() if words else ""

    @property
    def relation(self) -> str:
        """The relation of an ALTER TABLE, quoted."""
        return quoted_relation(self.node.alter_table_stmt.relation)

    @property
    def adds_column(self) -> bool:
        """Whether it is an ALTER TABLE that adds a column."""
        return any(each.subtype == AlterTableType.AddColumn for each in self._subcommands)

    @property
    def type_changes(self) -> list[tuple[str, str, str]]:
        """The columns whose type an ALTER TABLE changes: (name, new type, USING expression)."""
        found = []
        for each in self._subcommands:
            column = column_def(each)
            if each.subtype == AlterTableType.AlterColumnType and column is not None:
                using = expression_sql(column.raw_default) if column.HasField("raw_default") else ""
                found.append((each.name, type_sql(column.type_name), using))
        return found

    def added_constraints(self, *kinds: ConstrType) -> list[Node]:
        """The table constraints of the given kinds that it adds."""
        added = [added_constraint(each) for each in self._subcommands]
        return [each for each in added if each is not None and each.contype in kinds]

    @property
    def _subcommands(self) -> list[Node]:
        is_alter = self.what == "alter_table_stmt"
        return list(subcommands(self.node.alter_table_stmt)) if is_alter else []

    @property
    def function_calls(self) -> list[Node]:
        """The calls of functions in it."""
        return [] if self.node is None else list(function_calls_in(self.node))

    @property
    def functions_called(self) -> frozenset[str]:
        """The names of the functions that it calls, without their schemas."""
        return self._named[1]

    @property
    def relations(self) -> tuple[Node, ...]:
        """The range variables in it: every place where it names a relation."""
        return self._named[0]

    @cached_property
    def _named(self) -> tuple[tuple[Node, ...], frozenset[str]]:
        return ((), frozenset()) if self.node is None else named_in(self.node)

    @cached_property
    def reads_user_tables(self) -> bool:
        """Whether it names a relation outside the system catalogs, or the view that locks such."""
        return any(
            is_user_relation(each) or each.relname == _LOCKS_SEQUENCES for each in self.relations
        )

    @cached_property
    def locks_rows(self) -> bool:
        """Whether a query in it says FOR UPDATE, NO KEY UPDATE, SHARE or KEY SHARE."""
        runs = self.node is not None and self.kind in (Kind.SELECT, Kind.DML, Kind.OPAQUE)
        return runs and "LockingClause" in tags_in(self.node)

    @property
    def may_lock_rows(self) -> bool:
        """Whether it can lock rows that it does not write: by its text, or in code it runs."""
        return self.locks_rows or self.kind in (Kind.OPAQUE, Kind.UNSEEN)

    @property
    def commits(self) -> bool:
        """Whether it would end our transaction by committing it."""
        return self.kind is Kind.TRANSACTION and self.node.transaction_stmt.kind in COMMITS

    @property
    def prepares(self) -> bool:
        """Whether it is PREPARE TRANSACTION."""
        prepares = pg.TRANS_STMT_PREPARE
        return self.kind is Kind.TRANSACTION and self.node.transaction_stmt.kind == prepares

    @property
    def rolls_back(self) -> bool:
        """Whether it would end our transaction by rolling it back."""
        rolls_back = pg.TRANS_STMT_ROLLBACK
        return self.kind is Kind.TRANSACTION and self.node.transaction_stmt.kind == rolls_back

    @property
    def begins(self) -> bool:
        """Whether it would begin a transaction."""
        return self.kind is Kind.TRANSACTION and self.node.transaction_stmt.kind in BEGINS

    @property
    def sets_transaction(self) -> bool:
        """Whether it is SET TRANSACTION, which nothing may have preceded."""
        return self.what == "variable_set_stmt" and (
            self.node.variable_set_stmt.name.startswith("TRANSACTION")
        )

    @property
    def sets_locally(self) -> str:
        """The setting that it sets for the rest of the transaction; ``""`` for none."""
        if self.node is None or not self.node.variable_set_stmt.is_local:
            return ""
        name: str = self.node.variable_set_stmt.name
        return "" if name.startswith("TRANSACTION") else name

    @property
    def only_in_transaction(self) -> str:
        """How PostgreSQL calls it where it refuses it outside a transaction; ``""`` for others."""
        if self.what == "declare_cursor_stmt" and not self.held_cursor:
            return "DECLARE CURSOR"
        if self.kind is Kind.SAVEPOINT:
            return SAVEPOINTS[self.node.transaction_stmt.kind]
        return "LOCK TABLE" if self.what == "lock_stmt" else ""

    @property
    def held_cursor(self) -> str:
        """The cursor WITH HOLD that it declares; ``""`` for none."""
        if self.cursor_of_driver or self.what != "declare_cursor_stmt":
            return self.cursor_of_driver
        cursor = self.node.declare_cursor_stmt
        return str(cursor.portalname) if cursor.options & _HOLD else ""

    @cached_property
    def what(self) -> str:
        """The node's name in the parser, for example ``alter_table_stmt``."""
        return node_field(self.node) if self.node is not None else ""


UNSEEN = Statement("", Kind.UNSEEN)
"""Stands for everything that was not caught between two readings."""


@lru_cache(maxsize=512)
def parse(sql: str, *, placeholders: bool) -> tuple[Statement, ...]:
    """Split ``sql`` into its statements and say what each is.

    ``placeholders`` says whether psycopg will replace ``%s`` and ``%%`` in it. A text that the
    parser can't read comes back whole, as one statement of kind UNPARSED.
    """
    source = sql.encode()
    for stand_in in _STAND_INS if placeholders else ("",):
        text = readable(sql, stand_in) if placeholders else sql
        try:
            stmts = postgast.parse(text).stmts
        except postgast.PgQueryError:
            continue
        except DecodeError:  # read, but nested too deeply for protobuf to pass it on
            return _in_pieces(sql, text, placeholders=placeholders)
        return tuple(
            _parsed_statement(source, start, length, stmt.stmt, placeholders=placeholders)
            for start, length, stmt in ((s.stmt_location, s.stmt_len or None, s) for s in stmts)
        )
    return (_unparsed(sql, placeholders=placeholders),)


def _unparsed(sql: str, *, placeholders: bool) -> Statement:
    return Statement(sql, Kind.UNPARSED, parameters=count_positional(sql, active=placeholders))


def _in_pieces(sql: str, text: str, *, placeholders: bool) -> tuple[Statement, ...]:
    """Read each statement of a script that can't be read as a whole."""
    pieces = postgast.split(text)
    if len(pieces) == 1:
        return (_unparsed(sql.strip(), placeholders=placeholders),)
    source, parsed = sql.encode(), text.encode()
    found: list[Statement] = []
    end = 0
    for piece in pieces:
        start = parsed.index(piece.encode(), end)
        end = start + len(piece.encode())
        found += parse(source[start:end].decode(), placeholders=placeholders)
    return tuple(found)


def _parsed_statement(
    source: bytes, start: int, length: int | None, node: Node, *, placeholders: bool
) -> Statement:
    sql = source[start : None if length is None else start + length].decode().strip()
    outside = outside_transaction(node)
    return Statement(
        sql,
        kind_of(node),
        node,
        parameters=count_positional(sql, active=placeholders),
        plain_sql=without_concurrently(sql) if outside and is_concurrent(node) else None,
        outside_transaction=outside,
        placeholders=placeholders,
    )
