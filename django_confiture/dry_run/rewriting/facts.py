"""What a recipe has to know of the database that an operation is for."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from django_confiture.dry_run.rewriting.files import RenamedTable
from django_confiture.dry_run.sql.parsing.identifiers import quote_literal
from django_confiture.dry_run.sql.parsing.nodes import Node

NOT_VALID = " NOT VALID"
"""What a constraint's definition ends with until it is validated."""


@dataclass(frozen=True)
class PartitionIndex:
    """The index of a partition that belongs to one of the whole table."""

    name: str
    """Quoted, with its schema."""
    definition: str
    """The CREATE INDEX that makes it."""
    nested: bool
    """Whether the partition has partitions in turn."""


@dataclass(frozen=True)
class Identity:
    """What numbers the rows: GENERATED ... AS IDENTITY, with the options that Django gives it."""

    generated: str
    """ALWAYS or BY DEFAULT."""
    sequence: str
    """Its sequence, quoted, with its schema."""

    @property
    def definition(self) -> str:
        """What stands behind ADD."""
        return f"GENERATED {self.generated} AS IDENTITY (SEQUENCE NAME {self.sequence})"

    @property
    def _setting(self) -> str:
        return quote_literal("confiture." + re.sub(r"\W", "_", self.sequence))

    @property
    def remembered(self) -> str:
        """The query that keeps the sequence's value until the transaction ends."""
        value = "concat(last_value, ',', is_called)"
        return f"SELECT set_config({self._setting}, {value}, true) FROM {self.sequence}"

    @property
    def restored(self) -> str:
        """The query that gives another sequence of the same name that value."""
        values = f"string_to_array(current_setting({self._setting}), ',')"
        return (
            f"SELECT setval({quote_literal(self.sequence)}, kept[1]::bigint, kept[2]::boolean)"
            f" FROM (SELECT {values} AS kept) AS last"
        )


@dataclass(frozen=True)
class Facts:
    """What is known of the database before the operation, and of its statements.

    Names are those of :func:`known_name`. What is not known makes a recipe refuse.
    """

    app_label: str
    partitioned: frozenset[str] = frozenset()
    """Those of the operation's tables that are in partitions."""
    partitions: Mapping[str, Sequence[tuple[str, str]]] = field(default_factory=dict)
    """Partitioned table → schema and name of its partitions, where these have none in turn."""
    partition_indexes: Mapping[str, Sequence[PartitionIndex]] = field(default_factory=dict)
    """Index of a partitioned table → those of its partitions that the operation makes."""
    routed: bool = False
    """Whether the project has database routers, which are then told the model."""
    indexes: Mapping[str, str] = field(default_factory=dict)
    """Index → the CREATE INDEX that makes it."""
    renamed_indexes: Mapping[str, str] = field(default_factory=dict)
    """Index → the name that a later operation of the migration gives it."""
    constraints: Mapping[tuple[str, str], str] = field(default_factory=dict)
    """(table, constraint) → its definition."""
    constraints_before: Mapping[tuple[str, str], str] = field(default_factory=dict)
    """The same, before the statements of the operation that ``constraints`` knows of already."""
    identities: Mapping[tuple[str, str], Identity] = field(default_factory=dict)
    """(table, column) → what numbers its rows."""
    sequences: Mapping[tuple[str, str], str] = field(default_factory=dict)
    """(table, column) → the sequence that goes with it, as with a ``serial``; quoted."""
    keys: Mapping[str, str] = field(default_factory=dict)
    """Table → the column that is its primary key."""
    required: Mapping[str, frozenset[str]] = field(default_factory=dict)
    """Table → its columns that are NOT NULL and have no default."""
    plain: Mapping[str, frozenset[str]] = field(default_factory=dict)
    """Table → its columns that are neither generated, nor have privileges or options."""
    not_null: Mapping[str, frozenset[str]] = field(default_factory=dict)
    """Table → its columns that are NOT NULL."""
    defaults: Mapping[tuple[str, str], str] = field(default_factory=dict)
    """(table, column) → its default."""
    comments: Mapping[tuple[str, str], str] = field(default_factory=dict)
    """(table, column) → its comment."""
    types: Mapping[tuple[str, str], str] = field(default_factory=dict)
    """(table, column) → its type, with its collation where that is not the type's own."""
    row_security: frozenset[str] = frozenset()
    """The tables with row-level security."""
    counting: Mapping[str, str] = field(default_factory=dict)
    """Table → a trigger of it that does more each time a row is updated."""
    own_functions: frozenset[str] = frozenset()
    """The functions whose result may depend on more than what they are given."""
    working: frozenset[str] = frozenset()
    """The statements that read, write or build something, as measured."""
    rewriting: frozenset[str] = frozenset()
    """The statements that rewrite a table, as measured."""
    written: frozenset[str] = frozenset()
    """The tables of which the migration has written rows, so that they lie elsewhere now."""
    renamed: Sequence[RenamedTable] = ()
    """The tables that earlier operations have renamed, or columns of them, behind views."""
    moving: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    """Table → its columns that earlier operations give new ones until the next release, by name."""
    own_values: bool = False
    """Whether the rows of a new column get a value each, instead of one that Django asks for."""
    releases: int = 1
    """Over how many releases the operation may be spread."""
    undeletable: frozenset[str] = frozenset()
    """The tables of which running code can't delete rows any more, for those that refer to them."""
    cascades: frozenset[tuple[str, str]] | None = None
    """(table, column) of the foreign keys whose rows the models delete along; None: not known."""
    backwards: tuple[str, ...] = ()
    """The statements that take the operation back, where it is spread over two."""

    def works(self, sql: str) -> bool:
        """Return whether a statement reads, writes or builds something, as measured."""
        return sql in self.working or sql in self.rewriting

    def index(self, range_var: Node) -> str | None:
        """Return the CREATE INDEX of an index that is there."""
        return self.indexes.get(known_name(range_var))

    def constraint(self, table: Node, name: str) -> str | None:
        """Return the definition of a constraint that is there."""
        return self.constraints.get((known_name(table), name))

    def in_partitions(self, table: Node) -> bool:
        """Return whether a table is partitioned."""
        return known_name(table) in self.partitioned

    def secured(self, table: Node) -> bool:
        """Return whether a table has row-level security."""
        return known_name(table) in self.row_security

    def moved(self, table: Node) -> Mapping[str, str]:
        """Return old and new name of a table's columns that earlier operations change."""
        return self.moving.get(known_name(table), {})

    def key(self, table: Node) -> str | None:
        """Return the column that is a table's primary key."""
        return self.keys.get(known_name(table))


def known_name(range_var: Node) -> str:
    """Return how the facts call a relation: with its schema where the statement names one."""
    if range_var.schemaname:
        return f"{range_var.schemaname}.{range_var.relname}"
    return str(range_var.relname)
