"""Tables that a plan makes with the very statements that their models would be made with.

They need not be made a second time to be compared: the same statements make the same table, also
where later ones of the plan add to it what a new table would have at once. That takes that no
migration which has changed it sent anything that can't be read.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from django_confiture.dry_run.results import SchemaChange
from django_confiture.dry_run.schema_check.scratch_tables import sql_writer
from django_confiture.dry_run.sql.parsing.enums import AlterTableType
from django_confiture.dry_run.sql.parsing.nodes import Node, subcommands
from django_confiture.dry_run.sql.parsing.parser import Kind, Statement
from django_confiture.dry_run.sql.texts.folded_tables import folded

if TYPE_CHECKING:
    from django.db.backends.base.base import BaseDatabaseWrapper
    from django.db.models import Model

    from django_confiture.dry_run.server.side_channel import Session

_NO_SCHEMA = (Kind.SELECT, Kind.DML)
_OF_ITS_OWN = (
    AlterTableType.AddConstraint,
    AlterTableType.AddColumn,
    AlterTableType.AlterColumnType,
    AlterTableType.ColumnDefault,
    AlterTableType.SetNotNull,
    AlterTableType.DropNotNull,
)
"""What changes no other table than its own, as DROP … CASCADE does."""

_EVENT_TRIGGERS = "SELECT FROM pg_catalog.pg_event_trigger WHERE evtenabled <> 'D' LIMIT 1"


class TablesMade:
    """Notes which tables the migrations of a plan make, and with which statements."""

    def __init__(self) -> None:
        self._statements: dict[str, Sequence[str]] = {}

    def note(self, statements: Iterable[Statement], changes: Collection[SchemaChange]) -> None:
        """Note what a migration has sent, and what that changed in the schema."""
        changed = {change.relation or change.name for change in changes}
        made = {each.name for each in changes if (each.object, each.kind) == ("table", "added")}
        before = {name: self._statements.pop(name, None) for name in changed}
        known = made | {name for name, earlier in before.items() if earlier}
        if known:
            by_table = _statements_by_table(statements)
            for name in known & by_table.keys():
                earlier = () if name in made else before[name]
                self._statements[name] = (*(earlier or ()), *by_table[name])

    def as_models_would(
        self, session: Session, wrapper: BaseDatabaseWrapper, models: Iterable[type[Model]]
    ) -> frozenset[str]:
        """Return the tables that the statements of the models would make just so."""
        made = [model for model in models if model._meta.db_table in self._statements]
        if not made or session.query(_EVENT_TRIGGERS):  # which may change what is made
            return frozenset()
        wanted = _written(wrapper, made)
        return frozenset(
            table
            for table, statements in self._statements.items()
            if _make_the_same(statements, wanted.get(table, ()))
        )


def _make_the_same(statements: Sequence[str], wanted: Sequence[str]) -> bool:
    """Return whether statements make what others do, as far as their texts tell."""
    if sorted(statements) == sorted(wanted):
        return True
    found = folded(statements)
    return found is not None and found == folded(wanted)


def _statements_by_table(statements: Iterable[Statement]) -> Mapping[str, Sequence[str]]:
    """Return the statements of each table; none if one of them may be about any table."""
    found: defaultdict[str, list[str]] = defaultdict(list)
    for each in statements:
        if each.kind in _NO_SCHEMA or each.what == "constraints_set_stmt":
            continue
        relation = next(_only_changed(each), None)
        if relation is None or relation.schemaname:
            return {}
        found[relation.relname].append(each.sql)
    return found


def _only_changed(statement: Statement) -> Iterator[Node]:
    """Yield the relation that a statement makes or adds to, if it does so to no other."""
    if statement.what == "create_stmt":
        yield statement.node.create_stmt.relation
    elif statement.what == "index_stmt":
        yield statement.node.index_stmt.relation
    elif statement.what == "alter_table_stmt":
        node = statement.node.alter_table_stmt
        if all(each.subtype in _OF_ITS_OWN for each in subcommands(node)):
            yield node.relation


def _written(
    wrapper: BaseDatabaseWrapper, models: Iterable[type[Model]]
) -> Mapping[str, Sequence[str]]:
    """Return what the schema editor sends to make each table; nothing is sent here."""
    editor = sql_writer(wrapper)
    found: defaultdict[str, list[str]] = defaultdict(list)
    for model in models:
        if model._meta.auto_created:
            continue  # made with its owner
        with suppress(Exception):  # whatever a field or an index says of itself
            editor.create_model(model)
        between: Iterable[Any] = (f.remote_field.through for f in model._meta.local_many_to_many)
        names = [model._meta.db_table, *(each._meta.db_table for each in between)]
        beginnings = {f"CREATE TABLE {wrapper.ops.quote_name(name)} (": name for name in names}
        for sql in editor.collected_sql:
            of = (name for beginning, name in beginnings.items() if sql.startswith(beginning))
            found[next(of, names[0])].append(sql.removesuffix(";"))
        editor.collected_sql.clear()
    for statement in {str(each): each for each in editor.deferred_sql}.values():
        found[getattr(statement.parts.get("table"), "table", "")].append(str(statement))
    return found
