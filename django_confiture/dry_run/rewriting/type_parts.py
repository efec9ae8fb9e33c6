"""Types that rewrite the table: a new column that a trigger and batches fill takes its place."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from django.db.migrations import RunSQL

from django_confiture.dry_run.rewriting.batching import batches_of
from django_confiture.dry_run.rewriting.facts import Facts, known_name
from django_confiture.dry_run.rewriting.files import NoRecipe
from django_confiture.dry_run.rewriting.index_parts import concurrently
from django_confiture.dry_run.rewriting.names import object_name, suffixed
from django_confiture.dry_run.rewriting.parts import Part, Phase
from django_confiture.dry_run.sql.building import changed, column_renamed, type_sql
from django_confiture.dry_run.sql.enums import ConstrType
from django_confiture.dry_run.sql.identifiers import qualified_name, quote_identifier
from django_confiture.dry_run.sql.nodes import Node, definition, quoted_relation
from django_confiture.dry_run.sql.parser import parse


def changed_type_parts(
    relation: Node, subcommand: Node, facts: Facts, *, rewrites: bool
) -> Iterator[Part]:
    """Yield the new column, what fills it, its indexes, and the switch in the next release."""
    name = subcommand.name
    if not rewrites:
        raise NoRecipe(f"it changes the type of {name}")
    if facts.releases == 1:
        raise NoRecipe(
            f"it changes the type of {name}, which rewrites the table; "
            "--releases 2 spreads that over two releases"
        )
    change = _Change(relation, subcommand, facts)
    change.refuse_what_belongs_to_more()
    yield from change.column_and_mirror()
    yield from change.filled()
    indexes = list(change.indexes())
    for _new, _old, part in indexes:
        yield part
    yield from change.switch([(new, old) for new, old, _part in indexes])


@dataclass(frozen=True)
class _Change:
    relation: Node
    subcommand: Node
    facts: Facts

    @property
    def name(self) -> str:
        return str(self.subcommand.name)

    @property
    def table(self) -> str:
        return quoted_relation(self.relation)

    @property
    def old(self) -> str:
        return quote_identifier(self.name)

    @property
    def new_name(self) -> str:
        return suffixed(self.name, "_new")

    @property
    def new(self) -> str:
        return quote_identifier(self.new_name)

    @property
    def type(self) -> str:
        return type_sql(definition(self.subcommand).column_def.type_name)

    @property
    def mirror(self) -> str:
        return object_name(self.relation.relname, self.name, "mirror")

    @property
    def required(self) -> bool:
        return self.name in self.facts.required.get(known_name(self.relation), ())

    def refuse_what_belongs_to_more(self) -> None:
        """Raise :class:`NoRecipe` where the column is more than its values and its indexes."""
        known, column = known_name(self.relation), definition(self.subcommand).column_def
        if self.facts.in_partitions(self.relation):
            raise NoRecipe(f"{self.relation.relname} is partitioned")
        if self.name not in self.facts.plain.get(known, ()):
            raise NoRecipe(f"{self.name} has a default, an identity, a comment or the like")
        if column.HasField("coll_clause"):
            raise NoRecipe(f"it changes the collation of {self.name}")
        for (table, constraint), text in self.facts.constraints.items():
            if table == known and self._names_it(table, text):
                raise NoRecipe(f"{self.name} belongs to the constraint {constraint}")
            if f"REFERENCES {self.relation.relname}({self.name})" in text.replace('"', ""):
                raise NoRecipe(f"the constraint {constraint} refers to {self.name}")

    def _names_it(self, table: str, text: str) -> bool:
        sql = f"ALTER TABLE {quote_identifier(table)} ADD {text}"
        (statement,) = parse(sql, placeholders=False)
        for each in statement.added_constraints(*ConstrType):
            keys = [*each.keys, *each.fk_attrs, *each.including]
            if self.name in {key.string.sval for key in keys}:
                return True
            if column_renamed(each, self.name, self.new_name) != each:
                return True
        return False

    def column_and_mirror(self) -> Iterator[Part]:
        """Yield the new column, and the trigger that keeps it the same as the old one."""
        function = qualified_name(self.relation.schemaname, self.mirror)
        trigger = quote_identifier(self.mirror)
        yield Part(
            Phase.SCHEMA,
            f"ALTER TABLE {self.table} ADD COLUMN {self.new} {self.type}",
            f"ALTER TABLE {self.table} DROP COLUMN IF EXISTS {self.new}",
        )
        yield Part(
            Phase.SCHEMA,
            f"CREATE FUNCTION {function}() RETURNS trigger LANGUAGE plpgsql AS"
            f" $mirror$ BEGIN NEW.{self.new} := NEW.{self.old}::{self.type};"
            " RETURN NEW; END $mirror$",
            f"DROP FUNCTION IF EXISTS {function}()",
        )
        yield Part(
            Phase.SCHEMA,
            f"CREATE TRIGGER {trigger} BEFORE INSERT OR UPDATE ON {self.table}"
            f" FOR EACH ROW EXECUTE FUNCTION {function}()",
            f"DROP TRIGGER IF EXISTS {trigger} ON {self.table}",
        )

    def filled(self) -> Iterator[Part]:
        """Yield the batches that fill the new column; and a CHECK where it must have a value."""
        fill = (
            f"UPDATE {self.table} SET {self.new} = {self.old}::{self.type}"
            f" WHERE {self.new} IS NULL AND {self.old} IS NOT NULL"
        )
        (statement,) = parse(fill, placeholders=False)
        yield Part(Phase.FILL, fill, batches=batches_of(statement, self.facts))
        if self.required:
            check = self._check
            alter = f"ALTER TABLE {self.table}"
            yield Part(
                Phase.CHECK,
                f"{alter} ADD CONSTRAINT {check} CHECK ({self.new} IS NOT NULL) NOT VALID",
                f"{alter} DROP CONSTRAINT IF EXISTS {check}",
            )
            yield Part(Phase.VALIDATE, f"{alter} VALIDATE CONSTRAINT {check}")

    @property
    def _check(self) -> str:
        return quote_identifier(object_name(self.relation.relname, self.name, "is_set"))

    def indexes(self) -> Iterator[tuple[str, str, Part]]:
        """Yield each index on the column for the new one: its name, the old one's, the part."""
        seen = set()
        for sql in self.facts.indexes.values():
            if self.name not in sql:
                continue
            node = parse(sql, placeholders=False)[0].node.index_stmt
            schema, own = node.relation.schemaname, self.relation.schemaname
            same = node.relation.relname == self.relation.relname and own in ("", schema)
            moved = column_renamed(node, self.name, self.new_name)
            if not same or moved == node or node.idxname in seen:
                continue
            seen.add(node.idxname)
            moved = changed(moved, idxname=suffixed(node.idxname, "_new"))
            new = qualified_name(schema, moved.idxname)
            drop = f"DROP INDEX CONCURRENTLY IF EXISTS {new}"
            yield new, node.idxname, Part(Phase.INDEX, concurrently(moved), drop)

    def switch(self, indexes: list[tuple[str, str]]) -> Iterator[Part]:
        """Yield what puts the new column in the old one's place."""
        function = qualified_name(self.relation.schemaname, self.mirror)
        back = self.facts.backwards
        if not back:
            raise NoRecipe("the statements that take it back are not known")
        alter = f"ALTER TABLE {self.table}"
        statements = [
            f"DROP TRIGGER {quote_identifier(self.mirror)} ON {self.table}",
            f"DROP FUNCTION {function}()",
            f"{alter} DROP COLUMN {self.old}",
            f"{alter} RENAME COLUMN {self.new} TO {self.old}",
            *(f"ALTER INDEX {new} RENAME TO {quote_identifier(old)}" for new, old in indexes),
        ]
        if self.required:
            statements.append(f"{alter} ALTER COLUMN {self.old} SET NOT NULL")
            statements.append(f"{alter} DROP CONSTRAINT {self._check}")
        for number, each in enumerate(statements):
            reverse = RunSQL.noop if number else "; ".join(back)
            yield Part(Phase.NEXT_RELEASE, each, reverse)
