"""Creates the tables of models as temporary tables for a moment, to compare them.

Django's own schema editor writes the SQL; it is sent past the recorder, with ``pg_temp`` first in
the search path, so that what has no schema in its name is made there. It takes no lock on a real
table: where a foreign key leads out of the chosen models, a stand-in with the referenced columns
is made for its target.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import psycopg
from django.db import router

from django_confiture.formatting import one_line

if TYPE_CHECKING:
    from django.apps.registry import Apps
    from django.db.backends.base.base import BaseDatabaseWrapper
    from django.db.models import Model

    from django_confiture.dry_run.server.side_channel import Session

_MADE = "confiture_model_tables"
_ONE = "confiture_scratch_table"


@dataclass(frozen=True)
class ScratchTables:
    """The temporary tables of the models, and the models that have none."""

    made: Mapping[str, int]
    """Table name, as models have it → OID of the temporary table."""
    named: Mapping[str, Collection[str]]
    """Table name → names of indexes and constraints that the model itself gives."""
    not_made: Mapping[str, str] = field(default_factory=dict)
    """Table name → why its table could not be made here."""


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
        session.query(
            "SELECT set_config('search_path', concat('pg_temp, ',"
            " current_setting('search_path')), true)"
        )
        not_made = dict(_make_all(session, wrapper, chosen))
        made = {
            table: oid
            for table in chosen
            if table not in not_made and (oid := table_oid(session, wrapper, table)) is not None
        }
        named = {table: _given_names(model) for table, model in chosen.items()}
        yield ScratchTables(made, named, not_made)
    finally:
        session.query(f"ROLLBACK TO SAVEPOINT {_MADE}; RELEASE SAVEPOINT {_MADE}")


def table_oid(session: Session, wrapper: BaseDatabaseWrapper, table: str) -> int | None:
    """Return the OID of the relation that a model's ``db_table`` means now."""
    found = session.value("SELECT pg_catalog.to_regclass($1)::oid", [wrapper.ops.quote_name(table)])
    return int(found) if found else None


def _make_all(
    session: Session, wrapper: BaseDatabaseWrapper, chosen: Mapping[str, type[Model]]
) -> Iterator[tuple[str, str]]:
    """Make the tables; yield those that can't be made, each with the reason."""
    makeable = {table: model for table, model in chosen.items() if '"' not in table}
    for table in chosen.keys() - makeable.keys():
        yield table, "its db_table names a schema"
    for statement in _stand_ins(wrapper, makeable):
        session.attempt(statement)
    editor = _sql_writer(wrapper)
    for table, model in makeable.items():
        try:
            error = _try(session, _create(editor, model))
        except Exception as raised:  # noqa: BLE001 - whatever a field or an index says of itself
            error = one_line(raised)
        if error is not None:
            yield table, error
    # A state can list one index twice: after RenameIndex of unnamed fields that had one already.
    deferred = {str(statement): statement for statement in editor.deferred_sql}
    for statement in deferred.values():
        editor.execute(statement, None)
        error = _try(session, _collected(editor))
        if error is not None:
            yield from ((table, error) for table in makeable if _is_of(statement, table))


def _sql_writer(wrapper: BaseDatabaseWrapper) -> Any:
    """Return a schema editor that writes SQL down instead of running it."""
    editor: Any = wrapper.schema_editor(collect_sql=True, atomic=False)
    return editor.__enter__()  # which opens no transaction


def _create(editor: Any, model: type[Model]) -> list[str]:
    if not model._meta.auto_created:
        editor.create_model(model)  # its automatic many-to-many tables too
    return _collected(editor)


def _collected(editor: Any) -> list[str]:
    """Return the SQL written since the last call."""
    statements, editor.collected_sql = list(editor.collected_sql), []
    return statements


def _try(session: Session, statements: list[str]) -> str | None:
    """Run statements in one round trip; return the error that undid them, if any."""
    if not statements:
        return None
    session.query(f"SAVEPOINT {_ONE}")
    try:
        session.query("\n".join(statements))
    except psycopg.Error as error:
        session.query(f"ROLLBACK TO SAVEPOINT {_ONE}; RELEASE SAVEPOINT {_ONE}")
        return str(error).partition("\n")[0]
    session.query(f"RELEASE SAVEPOINT {_ONE}")
    return None


def _is_of(statement: Any, table: str) -> bool:
    return (
        bool(statement.references_table(table)) if hasattr(statement, "references_table") else False
    )


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
        yield f"CREATE TABLE pg_temp.{quote(table)} ({', '.join(parts)})"


def _referenced(model: type[Model]) -> Iterator[Any]:
    """Yield the fields that a model's foreign keys refer to."""
    own: Iterable[Any] = model._meta.local_fields
    for each in own:
        if each.remote_field is not None and getattr(each, "db_constraint", False):
            yield from each.foreign_related_fields


def _given_names(model: type[Model]) -> Collection[str]:
    meta = model._meta
    return {each.name for each in (*meta.indexes, *meta.constraints)}
