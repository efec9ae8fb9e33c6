"""Creates the tables of models as temporary tables for a moment, to compare them.

Django's own schema editor writes the SQL; it is sent past the recorder, with ``pg_temp`` first in
the search path, so that what has no schema in its name is made there. It takes no lock on a real
table: where a foreign key leads out of the chosen models, a stand-in with the referenced columns
is made for its target.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import psycopg
from django.db import router

from django_confiture.dry_run.measuring.schema.schema_diff import read_relations
from django_confiture.formatting import one_line

if TYPE_CHECKING:
    from django.apps.registry import Apps
    from django.db.backends.base.base import BaseDatabaseWrapper
    from django.db.models import Model

    from django_confiture.dry_run.measuring.schema.schema_objects import SchemaObject
    from django_confiture.dry_run.server.side_channel import Session

_MADE = "confiture_model_tables"
_ONE = "confiture_scratch_table"


@dataclass(frozen=True)
class ScratchTables:
    """The temporary tables of the models, and the models that have none."""

    made: Mapping[str, int]
    """Table's ``db_table`` → OID of the temporary table."""
    named: Mapping[str, Collection[str]]
    """Table's ``db_table`` → names of indexes and constraints that the model itself gives."""
    not_made: Mapping[str, str] = field(default_factory=dict)
    """Table's ``db_table`` → why its table could not be made here."""
    names: Mapping[str, str] = field(default_factory=dict)
    """Name of a temporary table that can't have its own → what PostgreSQL calls the real one."""

    def objects(self, session: Session) -> Mapping[str, Sequence[SchemaObject]]:
        """Return the objects of each table's model, with the names of the real tables."""
        read = read_relations(session, self.made.values(), temporary=True)
        return {
            table: [self._of_real_table(each) for each in read.get(oid, ())]
            for table, oid in self.made.items()
        }

    def _of_real_table(self, made: SchemaObject) -> SchemaObject:
        for name, real in self.names.items():
            definition = made.definition.replace(f"REFERENCES {name}(", f"REFERENCES {real}(")
            own = made.name.replace(name, real.rpartition(".")[2].strip('"'))
            made = replace(made, definition=definition, name=own)
        return made


def compared_models(apps: Apps, wrapper: BaseDatabaseWrapper) -> list[type[Model]]:
    """Return the models whose tables migrations make on this database, many-to-many ones too."""
    return [
        model
        for model in apps.get_models(include_auto_created=True)
        if model._meta.can_migrate(wrapper) and router.allow_migrate_model(wrapper.alias, model)
    ]


@contextmanager
def scratch_tables(
    session: Session, wrapper: BaseDatabaseWrapper, models: Iterable[type[Model]]
) -> Iterator[ScratchTables]:
    """Make the tables of ``models``; at the end drop them. Needs an open transaction."""
    chosen = {model._meta.db_table: model for model in models}
    session.query(f"SAVEPOINT {_MADE}")
    try:
        plain = _plain_names(wrapper, chosen)
        names = dict(_names_in_definitions(session, plain))
        session.query(
            "SELECT set_config('search_path', concat('pg_temp, ',"
            " current_setting('search_path')), true),"
            # where the indexes of permanent tables are built, or else all of them would differ
            " set_config('temp_tablespaces', current_setting('default_tablespace'), true)"
        )
        not_made = _make_all(session, wrapper, chosen, plain)
        temporary = {plain.get(wrapper.ops.quote_name(table), table): table for table in chosen}
        oids = table_oids(session, wrapper, temporary)
        made = {temporary[name]: oid for name, oid in oids.items()}
        made = {table: oid for table, oid in made.items() if table not in not_made}
        named = {table: _given_names(model) for table, model in chosen.items()}
        yield ScratchTables(made, named, not_made, names)
    finally:
        session.query(f"ROLLBACK TO SAVEPOINT {_MADE}; RELEASE SAVEPOINT {_MADE}")


def relation_of(model: type[Model]) -> str:
    """Return a model's table as reports call it, with the schema that its ``db_table`` names."""
    return model._meta.db_table.replace('"', "")


def table_oids(
    session: Session, wrapper: BaseDatabaseWrapper, tables: Iterable[str]
) -> Mapping[str, int]:
    """Return the OIDs of the relations that models' ``db_table`` mean now, of those that exist."""
    quoted = {wrapper.ops.quote_name(table): table for table in tables}
    rows = session.query(
        "SELECT name, pg_catalog.to_regclass(name)::oid FROM json_array_elements_text($1) name",
        [json.dumps([*quoted])],
    )
    return {quoted[name or ""]: int(oid) for name, oid in rows if oid is not None}


def _plain_names(
    wrapper: BaseDatabaseWrapper, chosen: Mapping[str, type[Model]]
) -> Mapping[str, str]:
    """Return quoted name → name of its temporary table, for each ``db_table`` with a schema."""
    tables = {
        *chosen,
        *(each.model._meta.db_table for m in chosen.values() for each in _referenced(m)),
    }
    with_schema = sorted(wrapper.ops.quote_name(table) for table in tables if '"' in table)
    return {quoted: f"{_ONE}_{number}" for number, quoted in enumerate(with_schema)}


def _names_in_definitions(session: Session, plain: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Yield the names of temporary tables, and how foreign keys name the real ones now."""
    if not plain:
        return
    rows = session.query(
        "SELECT name, pg_catalog.to_regclass(name)::text FROM json_array_elements_text($1) name",
        [json.dumps([*plain])],
    )
    for quoted, name in rows:
        yield plain[quoted or ""], name or quoted or ""


@dataclass(frozen=True)
class _Step:
    """Statements that succeed or fail together."""

    sql: str
    tables: Callable[[], Collection[str]] = tuple
    """Returns the tables that are not made if it fails."""


def _make_all(
    session: Session,
    wrapper: BaseDatabaseWrapper,
    chosen: Mapping[str, type[Model]],
    plain: Mapping[str, str],
) -> Mapping[str, str]:
    """Make the tables; return those that can't be made, each with the reason.

    All are made in one round trip, or one by one where something fails.
    """
    editor = sql_writer(wrapper)
    steps = [_Step(each) for each in _stand_ins(wrapper, chosen)]
    failed: dict[str, str] = {}
    for table, model in chosen.items():
        try:
            steps.append(_Step(_create(editor, model), partial(_made_with, model)))
        except Exception as raised:  # noqa: BLE001 - whatever a field or an index says of itself
            failed[table] = one_line(raised)
    steps += _deferred(editor, chosen)
    steps = [replace(each, sql=_with_plain_names(each.sql, plain)) for each in steps]
    if failed or _try(session, "\n".join(each.sql for each in steps)) is not None:
        for step in steps:
            _try_alone(session, step, failed)
    return {table: failed[table] for table in chosen if table in failed}


def _try_alone(session: Session, step: _Step, failed: dict[str, str]) -> None:
    """Run a step and note the tables that it fails for.

    Where a table wasn't made, its name means the real one: nothing that names it is sent.
    """
    tables = step.tables()
    reason = next((failed[table] for table in tables if table in failed), None)
    if reason is None:
        reason = _try(session, step.sql)
    if reason is not None:
        for table in tables:
            failed.setdefault(table, reason)


def _made_with(model: type[Model]) -> Collection[str]:
    """Return the tables that Django makes together with a model's."""
    fields: Iterable[Any] = model._meta.local_many_to_many
    through = (each.remote_field.through._meta for each in fields)
    return [model._meta.db_table, *(each.db_table for each in through if each.auto_created)]


def _with_plain_names(sql: str, plain: Mapping[str, str]) -> str:
    for quoted, name in plain.items():
        sql = sql.replace(quoted, f'"{name}"')
    return sql


def _deferred(editor: Any, makeable: Collection[str]) -> Iterator[_Step]:
    # A state can list one index twice: after RenameIndex of unnamed fields that had one already.
    deferred = {str(statement): statement for statement in editor.deferred_sql}
    for statement in deferred.values():
        editor.execute(statement, None)
        yield _Step(_collected(editor), partial(_tables_of, statement, makeable))


def sql_writer(wrapper: BaseDatabaseWrapper) -> Any:
    """Return a schema editor that writes SQL down instead of running it."""
    editor: Any = wrapper.schema_editor(collect_sql=True, atomic=False)
    return editor.__enter__()  # which opens no transaction


def _create(editor: Any, model: type[Model]) -> str:
    if not model._meta.auto_created:
        try:
            editor.create_model(model)  # its automatic many-to-many tables too
        except Exception:
            _collected(editor)
            raise
    return _collected(editor)


def _collected(editor: Any) -> str:
    """Return the SQL written since the last call."""
    statements, editor.collected_sql = list(editor.collected_sql), []
    return "\n".join(statements)


def _try(session: Session, sql: str) -> str | None:
    """Run statements in one round trip; return the error that undid them, if any."""
    if not sql:
        return None
    session.query(f"SAVEPOINT {_ONE}")
    try:
        session.query(f"{sql}\n; RELEASE SAVEPOINT {_ONE}")
    except psycopg.Error as error:
        session.query(f"ROLLBACK TO SAVEPOINT {_ONE}; RELEASE SAVEPOINT {_ONE}")
        return str(error).partition("\n")[0]
    return None


def _tables_of(statement: Any, tables: Iterable[str]) -> Collection[str]:
    if not hasattr(statement, "references_table"):
        return ()
    return [table for table in tables if statement.references_table(table)]


def _stand_ins(wrapper: BaseDatabaseWrapper, chosen: Mapping[str, type[Model]]) -> Iterator[str]:
    """Yield statements that make what foreign keys refer to outside the chosen models."""
    wanted: dict[str, dict[str, str]] = {}
    for model in chosen.values():
        for target in _referenced(model):
            table = target.model._meta.db_table
            if table not in chosen:
                wanted.setdefault(table, {})[target.column] = target.db_type(wrapper) or ""
    quote = wrapper.ops.quote_name
    for table, columns in wanted.items():
        parts = [f"{quote(column)} {kind} UNIQUE" for column, kind in columns.items()]
        yield f"CREATE TABLE pg_temp.{quote(table)} ({', '.join(parts)});"


def _referenced(model: type[Model]) -> Iterator[Any]:
    """Yield the fields that a model's foreign keys refer to."""
    own: Iterable[Any] = model._meta.local_fields
    for each in own:
        if each.remote_field is not None and getattr(each, "db_constraint", False):
            yield from each.foreign_related_fields


def _given_names(model: type[Model]) -> Collection[str]:
    meta = model._meta
    return {each.name for each in (*meta.indexes, *meta.constraints)}
