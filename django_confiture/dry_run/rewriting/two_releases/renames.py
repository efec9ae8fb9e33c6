"""Renamed columns and tables over two releases: a view has the old names until the next one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from django.db.migrations import (
    AlterModelTable,
    RenameField,
    RenameModel,
    RunSQL,
    SeparateDatabaseAndState,
)
from django.db.migrations.operations.base import Operation

from django_confiture.dry_run.rewriting.facts import Facts
from django_confiture.dry_run.rewriting.files import (
    OF_THIS_FILE,
    NoRecipe,
    RenamedTable,
    Rewriting,
    RewrittenFile,
)
from django_confiture.dry_run.rewriting.parts.parts import WHAT, WHY, Phase
from django_confiture.dry_run.rewriting.two_releases.views_of_renamed import (
    Pair,
    view_ended,
    view_made,
    view_replaced,
)
from django_confiture.dry_run.sql.parsing.building import (
    changed,
    constraint_sql,
    foreign_key_renamed,
    statement_sql,
    without_schemas,
)
from django_confiture.dry_run.sql.parsing.enums import AlterTableType, ConstrType, ObjectType
from django_confiture.dry_run.sql.parsing.identifiers import quote_identifier
from django_confiture.dry_run.sql.parsing.nodes import (
    Node,
    definition,
    quoted_relation,
    subcommands,
)
from django_confiture.dry_run.sql.parsing.parser import Kind, Statement, parse

RENAMING = (AlterModelTable, RenameField, RenameModel)
_WHY = "Short locks only: a view has the old names too, for the code that runs until then"
_ONE_RELEASE = (
    "it renames what the running release uses: keep the name in the database with db_column, "
    "or db_table, or spread it over two releases with --releases 2"
)
_IN_STATE = """\
class {name}(migrations.RenameModel):
    # The database's side is done above. As a separate operation, contenttypes follows it.
    def database_forwards(self, app_label, schema_editor, from_state, to_state):
        pass

    database_backwards = database_forwards
"""


def renames(statements: Sequence[Statement]) -> bool:
    """Return whether statements rename a column or a table."""
    kinds = (ObjectType.COLUMN, ObjectType.TABLE)
    return any(
        each.what == "rename_stmt" and each.node.rename_stmt.rename_type in kinds
        for each in statements
    )


def rewriting_of_renames(
    operation: Operation, statements: Sequence[Statement], facts: Facts
) -> Rewriting:
    """Return the renaming with a view that has the old names, and the end of the view."""
    if facts.releases == 1:
        raise NoRecipe(_ONE_RELEASE)
    renaming = _Renaming(facts, {(each.schema, each.after): each for each in facts.renamed})
    for each in statements:
        if each.kind is Kind.DDL:
            renaming.add(each)
    if renaming.keys:
        raise NoRecipe(f"it renames something, and drops the constraint {min(renaming.keys)}")
    first: list[Pair] = []
    pairs, ends = list(renaming.done), list(first)
    for table, was in renaming.touched():
        if was is None:
            pairs += view_made(table)
            ends += view_ended(table)
        else:
            dropped, made = view_replaced(was, table)
            first.append(dropped)
            pairs += made
    renamed = _with_models(_run_sql([*first, *pairs]), operation)
    files = [replace(renamed, differs=bool(ends))]
    if ends:
        phase = Phase.NEXT_RELEASE
        end = RewrittenFile(
            WHAT[phase], WHY[phase], [_run_sql(ends)], next_release=True, ends_views=True
        )
        files.append(end)
    return Rewriting(tuple(files), tuple(table for table, _was in renaming.touched()))


def _run_sql(pairs: Sequence[Pair]) -> RunSQL:
    there = [sql for sql, _back in pairs if sql]
    back = [sql for _sql, sql in reversed(pairs) if sql]
    return RunSQL(_one_or_all(there), _one_or_all(back))  # type: ignore[arg-type]


def _one_or_all(statements: list[str]) -> str | list[str]:
    return statements[0] if len(statements) == 1 else statements


def _with_models(run: RunSQL, operation: Operation) -> RewrittenFile:
    if not isinstance(operation, RenameModel):
        apart = SeparateDatabaseAndState([run], [operation])
        return RewrittenFile("renamed", _WHY, [apart])
    name = "RenameModelInState"
    in_state = type(name, (RenameModel,), {"__module__": OF_THIS_FILE})
    renamed = in_state(operation.old_name, operation.new_name)
    return RewrittenFile("renamed", _WHY, [run, renamed], above=_IN_STATE.format(name=name))


@dataclass
class _Renaming:
    """What the statements of an operation rename, gathered one after the other."""

    facts: Facts
    tables: dict[tuple[str, str], RenamedTable]
    """(schema, name now) → what is renamed, by earlier operations too."""
    done: list[Pair] = field(default_factory=list)
    keys: dict[str, Node] = field(default_factory=dict)
    """The foreign keys that are dropped, and have to come back under another name."""

    def touched(self) -> list[tuple[RenamedTable, RenamedTable | None]]:
        """Return the tables that the operation renames, with what was renamed before."""
        before = {(each.schema, each.before): each for each in self.facts.renamed}
        found = [(each, before.get((each.schema, each.before))) for each in self.tables.values()]
        return [(now, was) for now, was in found if now != was]

    def add(self, statement: Statement) -> None:
        """Take a statement of the operation."""
        if statement.what == "rename_stmt":
            self._rename(statement.node.rename_stmt)
            return
        only: list[Node] = []
        if statement.what == "alter_table_stmt":
            only = list(subcommands(statement.node.alter_table_stmt))
        if len(only) != 1:
            raise NoRecipe(f"it renames something, and runs {statement.command}")
        relation = statement.node.alter_table_stmt.relation
        if only[0].subtype == AlterTableType.DropConstraint:
            self._drop_key(relation, only[0].name)
        elif only[0].subtype == AlterTableType.AddConstraint:
            self._key_again(relation, definition(only[0]).constraint)
        else:
            raise NoRecipe("it renames something, and changes more at once")

    def _rename(self, node: Node) -> None:
        relation = node.relation
        key = (relation.schemaname, relation.relname)
        table = self.tables.get(key) or RenamedTable(*key, key[1])
        if self.facts.secured(changed(relation, relname=table.before)):
            raise NoRecipe(f"{table.before} has row-level security, which a view would evade")
        if node.rename_type == ObjectType.COLUMN:
            self._rename_column(node, table)
        elif node.rename_type == ObjectType.TABLE:
            if key in self.tables:
                raise NoRecipe(f"the table {key[1]} is renamed, or columns of it, before")
            self.tables[key[0], node.newname] = replace(table, after=node.newname)
            self._done(node, relation.relname, changed(relation, relname=node.newname))
        elif node.rename_type == ObjectType.SEQUENCE:
            self._done(node, relation.relname, changed(relation, relname=node.newname))
        else:
            raise NoRecipe("it renames something else too")

    def _rename_column(self, node: Node, table: RenamedTable) -> None:
        old, new = node.subname, node.newname
        columns = {**dict(table.columns), new: dict(table.columns).get(old, old)}
        columns.pop(old, None)
        self.tables[table.schema, table.after] = replace(table, columns=tuple(columns.items()))
        there = changed(node)
        there.relation.relname = self._name(node.relation)
        self._done(there, old, there.relation, subname=new)

    def _done(self, node: Node, newname: str, relation: Node, **fields: str) -> None:
        back = changed(node, newname=newname, **fields)
        back.relation.CopyFrom(relation)
        self.done.append((statement_sql(node), statement_sql(back)))

    def _name(self, relation: Node) -> str:
        """Return a table's name while the operation runs."""
        key = (relation.schemaname, relation.relname)
        behind = {(each.schema, each.after): each for each in self.facts.renamed}
        return behind[key].meanwhile if key in behind else key[1]

    def _drop_key(self, relation: Node, name: str) -> None:
        table = self.tables.get((relation.schemaname, relation.relname))
        known = changed(relation, relname=table.before) if table else relation
        text = self.facts.constraint(known, name)
        if text is None or not text.startswith("FOREIGN KEY"):
            raise NoRecipe(f"it renames something, and drops the constraint {name}")
        sql = f"ALTER TABLE {quoted_relation(relation)} ADD {text}"
        (self.keys[name],) = parse(sql, placeholders=False)[0].added_constraints(ConstrType.FOREIGN)

    def _key_again(self, relation: Node, constraint: Node) -> None:
        """Rename the foreign key that the operation drops and makes again under another name."""
        tables = {each.before: each.after for each in self.tables.values()}
        columns = {old: new for each in self.tables.values() for new, old in each.columns}
        wanted = constraint_sql(without_schemas(constraint))
        for name, was in self.keys.items():
            now = without_schemas(foreign_key_renamed(was, tables, columns))
            if constraint_sql(now) == wanted:
                table = changed(relation, relname=self._name(relation))
                self.done.append(_constraint_renamed(table, name, constraint.conname))
                del self.keys[name]
                return
        raise NoRecipe(f"it renames something, and adds the constraint {constraint.conname}")


def _constraint_renamed(table: Node, old: str, new: str) -> Pair:
    alter = f"ALTER TABLE {quoted_relation(table)} RENAME CONSTRAINT"
    one, other = quote_identifier(old), quote_identifier(new)
    return (f"{alter} {one} TO {other}", f"{alter} {other} TO {one}") if old != new else ("", "")
