"""What the models of a release can do with a row of each table, tried through the ORM.

A row is held as it was when it was first read, as running code holds it, a second one has the
longest texts that its fields allow, a third one the keys and choices of another row, and in others
one column is emptied that an INSERT may leave out. INSERT of the old release is also tried as an
upsert on what the model says is unique. Each action is rolled back. A table without rows is not
tried, but for SELECT. What a project's own ``save``, ``delete`` and signal receivers do is left
out: historical models don't have it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from typing import Any
from unittest import mock

_FOUND_A_ROW_IN_THE_WAY = {"23505", "23P01"}
"""The copy of a row meets the row itself: the INSERT got that far; other values would work.

Not so where the index is one that the plan makes: what collides there was allowed before.
"""
_CHECK = "23514"
_INDEXES = """
SELECT relname::text, split_part(pg_get_indexdef(oid), ' ON ', 2)
FROM pg_class WHERE relkind IN ('i', 'I')
"""
"""Name → what it is on."""

Tried = dict[str, dict[str, str]]
"""Table → action → the error, or "" where it worked."""


class Releases:
    """The release whose migrations are applied now, and the one that the plan leads to."""

    def __init__(self, connection: Any) -> None:
        from django.db.migrations.executor import MigrationExecutor

        self._connection = connection
        executor: Any = MigrationExecutor(connection)
        self._old = executor._create_project_state(with_applied_migrations=True).apps
        self._new = executor.loader.project_state().apps
        self._held: dict[type, list[Any]] = {}
        self._indexes = {*self._indexes_now().values()}

    def _indexes_now(self) -> dict[str, str]:
        with self._connection.cursor() as cursor:
            cursor.execute(_INDEXES)
            return dict(cursor.fetchall())

    def labels(self) -> dict[str, str]:
        """Return the table of each model, by its label."""
        models = [
            *self._old.get_models(include_auto_created=True),
            *self._new.get_models(include_auto_created=True),
        ]
        return {each._meta.label: each._meta.db_table for each in models}

    def try_old(self) -> Tried:
        """Try the models of the release that runs."""
        return self._tried(self._old, upserts=True)

    def try_new(self) -> Tried:
        """Try the models of the release to come.

        Without upserts: the report names those that need a constraint of the plan apart.
        """
        return self._tried(self._new, upserts=False)

    def _tried(self, apps: Any, *, upserts: bool) -> Tried:
        from django.db.models.signals import ModelSignal

        found: Tried = {}
        # That there are receivers still counts: then a DELETE reads the rows that go with it.
        with mock.patch.object(ModelSignal, "send", return_value=[]):
            for model in apps.get_models(include_auto_created=True):
                if model._meta.managed and not model._meta.proxy:
                    actions = self._actions(model, upserts=upserts)
                    found.setdefault(model._meta.db_table, {}).update(actions)
        return found

    def _actions(self, model: Any, *, upserts: bool) -> dict[str, str]:
        found = {"select": self._try(lambda: list(model._base_manager.all()[:1]))}
        if not found["select"] and model not in self._held:
            self._held[model] = list(model._base_manager.order_by("pk")[:2])
        if held := self._held.get(model):
            row = held[0]
            found |= {
                "delete": self._first(lambda: delete(row), lambda: delete_by_query(row)),
                "insert": self._first(
                    lambda: insert(row),
                    lambda: insert(with_long_texts(row)),
                    *(ways_to_upsert(model, row) if upserts else ()),
                ),
            }
            if not model._meta.auto_created:  # nothing updates the rows of a many-to-many field
                found["update"] = self._first(
                    lambda: update(row),
                    lambda: update(with_long_texts(row)),
                    lambda: update(with_values_of(held[-1], row)),
                    *(partial(self._empty, row, name) for name in emptiable(model)),
                )
        return {action: error for action, error in found.items() if error is not None}

    @staticmethod
    def _empty(row: Any, name: str) -> None:
        """Set one column to NULL; a CHECK that refuses it says that the release never does."""
        from django.db import IntegrityError, transaction

        new = copied(row)
        setattr(new, name, None)
        try:
            with transaction.atomic():
                update(new)
        except IntegrityError as error:
            if getattr(error.__cause__, "sqlstate", None) != _CHECK:
                raise

    def _first(self, *ways: Callable[[], Any]) -> str | None:
        """Return the first error of several ways to do something."""
        errors = [self._try(way) for way in ways]
        return next((each for each in errors if each), errors[0])

    def _try(self, action: Callable[[], Any]) -> str | None:
        """Return the database's error, "" if there is none; None if Python itself fails."""
        from django.db import DatabaseError, transaction

        try:
            with transaction.atomic():
                action()
                self._connection.check_constraints()
                transaction.set_rollback(True)
        except DatabaseError as error:
            state = getattr(error.__cause__, "sqlstate", None)
            if state is None:  # Django's own: a migration has deleted the row
                return None
            if state in _FOUND_A_ROW_IN_THE_WAY:
                name = error.__cause__.diag.constraint_name
                if self._indexes_now().get(name) in self._indexes:
                    return ""
            return f"{state} {error}".splitlines()[0]
        except Exception:  # noqa: BLE001 - a field, say, that can't be written as it was read
            return None
        return ""


def copied(row: Any) -> Any:
    """Return a copy; ``copy.copy`` would make it one of the project's own class."""
    names = [field.attname for field in row._meta.concrete_fields]
    return type(row).from_db(row._state.db, names, [getattr(row, name) for name in names])


def with_long_texts(row: Any) -> Any:
    """Return a copy whose texts are as long as its fields allow."""
    new = copied(row)
    for field in row._meta.concrete_fields:
        text = getattr(row, field.attname)
        plain = field.remote_field is None and not field.primary_key
        if isinstance(text, str) and field.max_length and plain:
            setattr(new, field.attname, text.ljust(field.max_length, "x"))
    return new


def with_values_of(other: Any, row: Any) -> Any:
    """Return a copy with the foreign keys and choices of a second row."""
    new = copied(row)
    for field in row._meta.concrete_fields:
        is_choice = field.choices or field.get_internal_type() == "BooleanField"
        if (field.remote_field or is_choice) and not field.primary_key:
            setattr(new, field.attname, getattr(other, field.attname))
    return new


def emptiable(model: Any) -> Iterator[str]:
    """Yield the columns that an INSERT of the release leaves NULL if it is not told otherwise."""
    for field in model._meta.concrete_fields:
        has_other = field.has_default() or field.has_db_default() or field.generated
        if field.null and not (has_other or field.primary_key):
            yield field.attname


def update(row: Any) -> None:
    """Write all fields of a row."""
    copied(row).save_base(raw=True, force_update=True)


def insert(row: Any) -> None:
    """Insert a copy, with another key where the database gives one."""
    from django.db.models import Model

    new = copied(row)
    key = new._meta.pk
    while key.remote_field is not None and key.remote_field.parent_link:
        setattr(new, key.attname, None)
        key = key.remote_field.model._meta.pk
    if key.has_default() or key.get_internal_type().endswith("AutoField"):
        setattr(new, key.attname, key.get_default() if key.has_default() else None)
    new.save_base(force_insert=(Model,))


def ways_to_upsert(model: Any, row: Any) -> Iterator[Callable[[], Any]]:
    """Yield an INSERT ... ON CONFLICT DO UPDATE for whatever the model says is unique."""
    names = [each.name for each in model._meta.local_concrete_fields if not each.primary_key]
    if model._meta.parents:  # bulk_create doesn't know inheritance
        return
    for unique in unique_fields(model):
        others = [name for name in names if name not in unique]
        if others:
            yield lambda unique=unique, others=others: model._base_manager.bulk_create(
                [copied(row)],
                update_conflicts=True,
                unique_fields=unique,
                update_fields=others[:1],
            )


def unique_fields(model: Any) -> Iterator[list[str]]:
    """Yield the names of each group of fields that ON CONFLICT can name."""
    for field in model._meta.local_concrete_fields:
        if field.unique and not field.primary_key:
            yield [field.name]
    yield from map(list, model._meta.unique_together)
    for constraint in model._meta.total_unique_constraints:
        if not constraint.deferrable:
            yield list(constraint.fields)


def delete_by_query(row: Any) -> None:
    """Delete a row as ``QuerySet.delete`` does, which may read it first.

    A row of an automatic many-to-many table goes by both of its keys, as with ``remove()``.
    """
    from django.db.models import ProtectedError, RestrictedError

    keys = {"pk": row.pk}
    if row._meta.auto_created:
        ends = [each.attname for each in row._meta.local_fields if each.is_relation]
        keys = {name: getattr(row, name) for name in ends}
    with suppress(ProtectedError, RestrictedError):
        type(row)._base_manager.filter(**keys).delete()


def delete(row: Any) -> None:
    """Delete a row, and what the models say goes with it."""
    from django.db.models import ProtectedError, RestrictedError
    from django.db.models.deletion import Collector

    collector = Collector(using="default", origin=row)
    try:
        collector.collect([copied(row)])
    except (ProtectedError, RestrictedError):
        return
    collector.delete()
