"""A column that changes its type, and the new one that takes its place."""

from __future__ import annotations

from dataclasses import dataclass

from django_confiture.dry_run.rewriting.names import object_name, suffixed
from django_confiture.dry_run.sql.parsing.building import type_sql
from django_confiture.dry_run.sql.parsing.identifiers import quote_identifier
from django_confiture.dry_run.sql.parsing.nodes import Node, definition


@dataclass(frozen=True)
class ChangedColumn:
    """A column of ``relation`` that ``subcommand``, an ALTER COLUMN … TYPE, gives another type."""

    relation: Node
    subcommand: Node

    @property
    def name(self) -> str:
        """The column's name, not quoted."""
        return str(self.subcommand.name)

    @property
    def new_name(self) -> str:
        """The new column's name until it takes the old one's, not quoted."""
        return suffixed(self.name, "_new")

    @property
    def old(self) -> str:
        """The column's name, quoted."""
        return quote_identifier(self.name)

    @property
    def new(self) -> str:
        """The new column's name, quoted."""
        return quote_identifier(self.new_name)

    @property
    def type(self) -> str:
        """The new type, as SQL."""
        return type_sql(definition(self.subcommand).column_def.type_name)

    @property
    def mirror(self) -> str:
        """The name of the trigger that keeps both the same, and of its function; not quoted."""
        return object_name(self.relation.relname, self.name, "mirror")

    @property
    def check(self) -> str:
        """The quoted name of the CHECK that the new column is not null."""
        return quote_identifier(object_name(self.relation.relname, self.name, "is_set"))
