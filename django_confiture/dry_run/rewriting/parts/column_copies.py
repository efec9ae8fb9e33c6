"""New columns of a table in the form of old ones, with their own indexes and constraints."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from django_confiture.dry_run.rewriting.batching import batches_of
from django_confiture.dry_run.rewriting.facts import Facts, Identity, known_name
from django_confiture.dry_run.rewriting.files import NoRecipe
from django_confiture.dry_run.rewriting.names import suffixed
from django_confiture.dry_run.rewriting.parts.changed_column import ChangedColumn
from django_confiture.dry_run.rewriting.parts.constraint_parts import validated
from django_confiture.dry_run.rewriting.parts.index_parts import (
    concurrently,
    unique_index_part,
    unique_index_parts,
)
from django_confiture.dry_run.rewriting.parts.parts import Part, Phase
from django_confiture.dry_run.sql.parsing.building import (
    changed,
    columns_renamed,
    constraint_of,
    references_renamed,
)
from django_confiture.dry_run.sql.parsing.enums import ConstrType
from django_confiture.dry_run.sql.parsing.identifiers import (
    qualified_name,
    quote_identifier,
    quote_literal,
)
from django_confiture.dry_run.sql.parsing.nodes import Node, definition, quoted_relation, strings
from django_confiture.dry_run.sql.parsing.parser import parse


@dataclass(frozen=True)
class _Copy:
    """An index or a constraint of the old columns, made for the new ones under a new name."""

    parts: Sequence[Part]
    renamed: str
    """The statement that gives it the old name."""


@dataclass(frozen=True)
class Columns:
    """The columns of one table that change their types at once."""

    relation: Node
    columns: Sequence[ChangedColumn]
    moved: Mapping[str, Mapping[str, str]]
    """Table → old and new name of each column, of all tables."""
    facts: Facts

    @property
    def table(self) -> str:
        """The table's name, quoted."""
        return quoted_relation(self.relation)

    @property
    def known(self) -> str:
        """Its name, as the facts call it."""
        return known_name(self.relation)

    @property
    def _names(self) -> Mapping[str, str]:
        return self.moved[self.known]

    def refuse_what_has_no_other_form(self) -> None:
        """Raise :class:`NoRecipe` where other columns can't take their places."""
        if self.facts.in_partitions(self.relation):
            raise NoRecipe(f"{self.relation.relname} is partitioned")
        for each in self.columns:
            if (
                each.name not in self.facts.plain.get(self.known, ())
                and self._identity(each) is None
            ):
                raise NoRecipe(f"{each.name} has privileges, an identity with options, or the like")
            if definition(each.subcommand).column_def.HasField("coll_clause"):
                raise NoRecipe(f"it changes the collation of {each.name}")
            self._refuse_foreign_keys_to(each)

    def _refuse_foreign_keys_to(self, column: ChangedColumn) -> None:
        for (table, constraint), text in self.facts.constraints.items():
            if f"REFERENCES {self.relation.relname}({column.name})" in text.replace('"', ""):
                own = text.replace('"', "").removeprefix("FOREIGN KEY (").partition(")")[0]
                if own not in self.moved.get(table.rpartition(".")[2], self.moved.get(table, ())):
                    raise NoRecipe(f"the constraint {constraint} refers to {column.name}")

    def _identity(self, column: ChangedColumn) -> Identity | None:
        return self.facts.identities.get((self.known, column.name))

    def _is_required(self, column: ChangedColumn) -> bool:
        return column.name in self.facts.not_null.get(self.known, ())

    def parts(self) -> Iterator[Part]:
        """Yield the new columns, what fills them, and their indexes and constraints."""
        for each in self.columns:
            yield from self._column_and_mirror(each)
            yield from self._filled(each)
        for copy in (*self._indexes, *self._constraints):
            yield from copy.parts

    def _column_and_mirror(self, column: ChangedColumn) -> Iterator[Part]:
        """Yield the new column, and the trigger that keeps it the same as the old one."""
        function = qualified_name(self.relation.schemaname, column.mirror)
        trigger = quote_identifier(column.mirror)
        yield Part(
            Phase.SCHEMA,
            f"ALTER TABLE {self.table} ADD COLUMN {column.new} {column.type}",
            f"ALTER TABLE {self.table} DROP COLUMN IF EXISTS {column.new}",
        )
        yield Part(
            Phase.SCHEMA,
            f"CREATE FUNCTION {function}() RETURNS trigger LANGUAGE plpgsql AS"
            f" $mirror$ BEGIN NEW.{column.new} := NEW.{column.old}::{column.type};"
            " RETURN NEW; END $mirror$",
            f"DROP FUNCTION IF EXISTS {function}()",
        )
        yield Part(
            Phase.SCHEMA,
            f"CREATE TRIGGER {trigger} BEFORE INSERT OR UPDATE ON {self.table}"
            f" FOR EACH ROW EXECUTE FUNCTION {function}()",
            f"DROP TRIGGER IF EXISTS {trigger} ON {self.table}",
        )

    def _filled(self, column: ChangedColumn) -> Iterator[Part]:
        """Yield the batches that fill the new column; and a CHECK where it must have a value."""
        fill = (
            f"UPDATE {self.table} SET {column.new} = {column.old}::{column.type}"
            f" WHERE {column.new} IS NULL AND {column.old} IS NOT NULL"
        )
        (statement,) = parse(fill, placeholders=False)
        yield Part(Phase.FILL, fill, batches=batches_of(statement, self.facts))
        if self._is_required(column):
            alter = f"ALTER TABLE {self.table}"
            yield Part(
                Phase.CHECK,
                f"{alter} ADD CONSTRAINT {column.check} CHECK ({column.new} IS NOT NULL) NOT VALID",
                f"{alter} DROP CONSTRAINT IF EXISTS {column.check}",
            )
            yield Part(Phase.VALIDATE, f"{alter} VALIDATE CONSTRAINT {column.check}")

    @cached_property
    def _indexes(self) -> Sequence[_Copy]:
        """Each index on the columns for the new ones; constraints have their own."""
        return [*self._copied_indexes()]

    def _copied_indexes(self) -> Iterator[_Copy]:
        seen = {name for table, name in self.facts.constraints if table == self.known}
        for sql in self.facts.indexes.values():
            if not any(name in sql for name in self._names):
                continue
            node = parse(sql, placeholders=False)[0].node.index_stmt
            schema, own = node.relation.schemaname, self.relation.schemaname
            same = node.relation.relname == self.relation.relname and own in ("", schema)
            moved = columns_renamed(node, self._names)
            if not same or moved == node or node.idxname in seen:
                continue
            seen.add(node.idxname)
            moved, suffix = self._behind_others(moved, columns_renamed)
            moved = changed(moved, idxname=suffixed(node.idxname, suffix))
            new = qualified_name(schema, moved.idxname)
            drop = f"DROP INDEX CONCURRENTLY IF EXISTS {new}"
            rename = f"ALTER INDEX {new} RENAME TO {quote_identifier(node.idxname)}"
            yield _Copy([Part(Phase.INDEX, concurrently(moved), drop)], rename)

    def _behind_others(
        self, node: Node, renamed: Callable[[Node, Mapping[str, str]], Node]
    ) -> tuple[Node, str]:
        """Return it with the new columns of earlier operations, and the suffix of its name.

        Each of these has one under the old name, which goes with the old column.
        """
        count = 1
        for names in self.facts.moved(self.relation).items():
            again = renamed(node, dict([names]))
            count += again != node
            node = again
        return node, "_new" if count == 1 else f"_new{count}"

    @cached_property
    def _constraints(self) -> Sequence[_Copy]:
        """Each constraint that names a column, or that a foreign key of one is, for the new."""
        return [*self._copied_constraints()]

    def _copied_constraints(self) -> Iterator[_Copy]:
        for (table, name), text in self.facts.constraints.items():
            if table != self.known:
                continue
            sql = f"ALTER TABLE {self.table} ADD CONSTRAINT {quote_identifier(name)} {text}"
            (constraint,) = parse(sql, placeholders=False)[0].added_constraints(*ConstrType)
            moved = constraint_of(constraint, self._names)
            if moved == constraint or name in self._added_foreign_keys:
                continue
            moved, suffix = self._behind_others(moved, constraint_of)
            new = suffixed(name, suffix)
            drop = f"ALTER TABLE {self.table} DROP CONSTRAINT IF EXISTS {quote_identifier(new)}"
            parts = [
                replace(part, reverse=drop) if part.phase is not Phase.INDEX else part
                for part in self._constraint(changed(moved, conname=new))
            ]
            rename = f"RENAME CONSTRAINT {quote_identifier(new)} TO {quote_identifier(name)}"
            if constraint.contype == ConstrType.PRIMARY:
                index = quote_identifier(new)
                rename = f"ADD CONSTRAINT {quote_identifier(name)} PRIMARY KEY USING INDEX {index}"
            yield _Copy(parts, f"ALTER TABLE {self.table} {rename}")

    def _constraint(self, constraint: Node) -> Iterator[Part]:
        if constraint.contype == ConstrType.UNIQUE:
            columns = strings(constraint.keys)
            yield from unique_index_parts(self.relation, constraint, columns, self.facts)
        elif constraint.contype == ConstrType.PRIMARY:
            columns = strings(constraint.keys)
            yield unique_index_part(self.relation, constraint, columns, self.facts)
        elif constraint.contype in (ConstrType.CHECK, ConstrType.FOREIGN):
            # What the filled column has to obey: until then its NULLs would not.
            target = self._moved_of(constraint.pktable)
            made, validate = validated(
                self.relation, references_renamed(constraint, target), self.facts
            )
            yield replace(made, phase=Phase.REFERENCE if target else Phase.CHECK)
            yield validate
        else:
            kind = ConstrType(constraint.contype).name.lower()
            names = ", ".join(self._names)
            raise NoRecipe(f"{names} belongs to a constraint of the kind {kind}")

    def _moved_of(self, range_var: Node) -> Mapping[str, str]:
        return self.moved.get(known_name(range_var)) or self.moved.get(range_var.relname, {})

    @cached_property
    def _added_foreign_keys(self) -> Mapping[str, Node]:
        """The foreign keys of columns that had none: running code may not obey them yet."""
        had_one = {column for _name, column in self._foreign_keys(self.facts.constraints_before)}
        found = {}
        for name, column in self._foreign_keys(self.facts.constraints):
            if column not in had_one:
                text = self.facts.constraints[self.known, name]
                sql = f"ALTER TABLE {self.table} ADD CONSTRAINT {quote_identifier(name)} {text}"
                (found[name],) = parse(sql, placeholders=False)[0].added_constraints(*ConstrType)
        return found

    def _foreign_keys(
        self, constraints: Mapping[tuple[str, str], str]
    ) -> Iterator[tuple[str, str]]:
        """Yield name and column of each foreign key of the columns."""
        for (table, name), text in constraints.items():
            if table == self.known and text.startswith("FOREIGN KEY ("):
                column = text.removeprefix("FOREIGN KEY (").partition(")")[0].replace('"', "")
                if column in self._names:
                    yield name, column

    def foreign_keys_added(self) -> Iterator[Part]:
        """Yield the foreign keys of columns that had none, for the next release."""
        for each in self._added_foreign_keys.values():
            made, validate = validated(self.relation, each, self.facts)
            yield replace(made, phase=Phase.NEXT_RELEASE)
            yield replace(validate, phase=Phase.NEXT_VALIDATE)

    def foreign_keys_dropped(self) -> Iterator[str]:
        """Yield what drops the foreign keys of the old columns."""
        for name, _column in self._foreign_keys(self.facts.constraints_before):
            yield f"ALTER TABLE {self.table} DROP CONSTRAINT IF EXISTS {quote_identifier(name)}"

    def old_dropped(self) -> Iterator[str]:
        """Yield what drops the old columns."""
        for each in self.columns:
            function = qualified_name(self.relation.schemaname, each.mirror)
            yield f"DROP TRIGGER {quote_identifier(each.mirror)} ON {self.table}"
            yield f"DROP FUNCTION {function}()"
            if (identity := self._identity(each)) is not None:
                yield identity.remembered
            if (sequence := self.facts.sequences.get((self.known, each.name))) is not None:
                yield f"ALTER SEQUENCE {sequence} OWNED BY NONE"
            yield f"ALTER TABLE {self.table} DROP COLUMN {each.old}"

    def new_renamed(self) -> Iterator[str]:
        """Yield what gives the new columns the old ones' names, and all that is theirs."""
        alter = f"ALTER TABLE {self.table}"
        for each in self.columns:
            yield f"{alter} RENAME COLUMN {each.new} TO {each.old}"
        for each in self.columns:
            column = f"{alter} ALTER COLUMN {each.old}"
            if (default := self.facts.defaults.get((self.known, each.name))) is not None:
                yield f"{column} SET DEFAULT {default}"
            if (sequence := self.facts.sequences.get((self.known, each.name))) is not None:
                yield f"ALTER SEQUENCE {sequence} OWNED BY {self.table}.{each.old}"
            if self._is_required(each):
                yield f"{column} SET NOT NULL"
                yield f"{alter} DROP CONSTRAINT {each.check}"
            if (identity := self._identity(each)) is not None:
                yield f"{column} ADD {identity.definition}"
                yield identity.restored
            if (comment := self.facts.comments.get((self.known, each.name))) is not None:
                yield f"COMMENT ON COLUMN {self.table}.{each.old} IS {quote_literal(comment)}"
        for copy in (*self._indexes, *self._constraints):
            yield copy.renamed
