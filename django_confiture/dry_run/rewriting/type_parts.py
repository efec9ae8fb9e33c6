"""Types that rewrite the table: a new column that a trigger and batches fill takes its place."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from django.db.migrations import RunSQL

from django_confiture.dry_run.rewriting.batching import batches_of
from django_confiture.dry_run.rewriting.constraint_parts import validated
from django_confiture.dry_run.rewriting.facts import Facts, known_name
from django_confiture.dry_run.rewriting.files import NoRecipe
from django_confiture.dry_run.rewriting.index_parts import concurrently, unique_index_parts
from django_confiture.dry_run.rewriting.names import object_name, suffixed
from django_confiture.dry_run.rewriting.parts import Part, Phase
from django_confiture.dry_run.sql.building import changed, column_renamed, constraint_of, type_sql
from django_confiture.dry_run.sql.enums import ConstrType
from django_confiture.dry_run.sql.identifiers import qualified_name, quote_identifier, quote_literal
from django_confiture.dry_run.sql.nodes import Node, definition, quoted_relation, strings
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
    change.refuse_what_has_no_other_form()
    yield from change.column_and_mirror()
    yield from change.filled()
    copies = [*change.indexes(), *change.constraints()]
    for each in copies:
        yield from each.parts
    yield from change.switch([each.renamed for each in copies])


@dataclass(frozen=True)
class _Copy:
    """An index or a constraint of the old column, made for the new one under a new name."""

    parts: Sequence[Part]
    renamed: str
    """The statement that gives it the old name."""


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
        return self.name in self.facts.not_null.get(self.known, ())

    @property
    def known(self) -> str:
        return known_name(self.relation)

    def refuse_what_has_no_other_form(self) -> None:
        """Raise :class:`NoRecipe` where another column can't take its place."""
        if self.facts.in_partitions(self.relation):
            raise NoRecipe(f"{self.relation.relname} is partitioned")
        if self.name not in self.facts.plain.get(self.known, ()):
            raise NoRecipe(f"{self.name} has an identity, privileges, or the like")
        if definition(self.subcommand).column_def.HasField("coll_clause"):
            raise NoRecipe(f"it changes the collation of {self.name}")
        for (_table, constraint), text in self.facts.constraints.items():
            if f"REFERENCES {self.relation.relname}({self.name})" in text.replace('"', ""):
                raise NoRecipe(f"the constraint {constraint} refers to {self.name}")

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

    def indexes(self) -> Iterator[_Copy]:
        """Yield each index on the column for the new one; constraints have their own."""
        seen = {name for table, name in self.facts.constraints if table == self.known}
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
            rename = f"ALTER INDEX {new} RENAME TO {quote_identifier(node.idxname)}"
            yield _Copy([Part(Phase.INDEX, concurrently(moved), drop)], rename)

    def constraints(self) -> Iterator[_Copy]:
        """Yield each constraint that names the column for the new one."""
        for (table, name), text in self.facts.constraints.items():
            if table != self.known:
                continue
            sql = f"ALTER TABLE {self.table} ADD CONSTRAINT {quote_identifier(name)} {text}"
            (constraint,) = parse(sql, placeholders=False)[0].added_constraints(*ConstrType)
            moved = constraint_of(constraint, self.name, self.new_name)
            if moved == constraint:
                continue
            new = suffixed(name, "_new")
            drop = f"ALTER TABLE {self.table} DROP CONSTRAINT IF EXISTS {quote_identifier(new)}"
            parts = [
                replace(part, reverse=drop) if part.phase is not Phase.INDEX else part
                for part in self._constraint(changed(moved, conname=new))
            ]
            rename = f"RENAME CONSTRAINT {quote_identifier(new)} TO {quote_identifier(name)}"
            yield _Copy(parts, f"ALTER TABLE {self.table} {rename}")

    def _constraint(self, constraint: Node) -> Iterator[Part]:
        if constraint.contype == ConstrType.UNIQUE:
            columns = strings(constraint.keys)
            yield from unique_index_parts(self.relation, constraint, columns, self.facts)
        elif constraint.contype in (ConstrType.CHECK, ConstrType.FOREIGN):
            # What the filled column has to obey: until then its NULLs would not.
            made, validate = validated(self.relation, constraint, self.facts)
            yield replace(made, phase=Phase.CHECK)
            yield validate
        else:
            kind = ConstrType(constraint.contype).name.lower()
            raise NoRecipe(f"{self.name} belongs to a constraint of the kind {kind}")

    def switch(self, renamed: Sequence[str]) -> Iterator[Part]:
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
            *renamed,
        ]
        if (default := self.facts.defaults.get((self.known, self.name))) is not None:
            statements.append(f"{alter} ALTER COLUMN {self.old} SET DEFAULT {default}")
        if self.required:
            statements.append(f"{alter} ALTER COLUMN {self.old} SET NOT NULL")
            statements.append(f"{alter} DROP CONSTRAINT {self._check}")
        if (comment := self.facts.comments.get((self.known, self.name))) is not None:
            text = quote_literal(comment)
            statements.append(f"COMMENT ON COLUMN {self.table}.{self.old} IS {text}")
        for number, each in enumerate(statements):
            reverse = RunSQL.noop if number else "; ".join(back)
            yield Part(Phase.NEXT_RELEASE, each, reverse)
