"""What the models of a release can do with a row of each table, tried through the ORM.

A row is held as it was when it was first read, as running code holds it, a second one has the
longest texts that its fields allow, and in others one column is emptied that an INSERT may leave
out. INSERT is also tried as an upsert on each unique field. Each
action is rolled back. A table without rows is not tried, but for SELECT. What a project's own
``save``, ``delete`` and signal receivers do is left out: historical models don't have it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from typing import Any
from unittest import mock

_FOUND_A_ROW_IN_THE_WAY = {"23505", "23P01"}
"""The copy of a row meets the row itself: the INSERT got that far; other values would work."""
_CHECK = "23514"

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
        self._held: dict[type, Any] = {}

    def labels(self) -> dict[str, str]:
        """Return the table of each model, by its label."""
        models = [
            *self._old.get_models(include_auto_created=True),
            *self._new.get_models(include_auto_created=True),
        ]
        return {each._meta.label: each._meta.db_table for each in models}

    def try_old(self) -> Tried:
        """Try the models of the release that runs."""
        return self._tried(self._old)

    def try_new(self) -> Tried:
        """Try the models of the release to come."""
        return self._tried(self._new)

    def _tried(self, apps: Any) -> Tried:
        from django.db.models.signals import ModelSignal

        found: Tried = {}
        # That there are receivers still counts: then a DELETE reads the rows that go with it.
        with mock.patch.object(ModelSignal, "send", return_value=[]):
            for model in apps.get_models(include_auto_created=True):
                if model._meta.managed and not model._meta.proxy:
                    actions = self._actions(model)
                    found.setdefault(model._meta.db_table, {}).update(actions)
        return found

    def _actions(self, model: Any) -> dict[str, str]:
        rows: list[Any] = []
        found = {"select": self._try(lambda: rows.extend(model._base_manager.all()[:1]))}
        if rows:
            self._held.setdefault(model, rows[0])
        if row := self._held.get(model):
            found |= {
                "update": self._first(
                    lambda: update(row),
                    lambda: update(with_long_texts(row)),
                    *(partial(self._empty, row, name) for name in emptiable(model)),
                ),
                "delete": self._first(lambda: delete(row), lambda: delete_by_query(row)),
                "insert": self._first(
                    lambda: insert(row), lambda: insert(with_long_texts(row)), *upserts(model, row)
                ),
            }
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
            return "" if state in _FOUND_A_ROW_IN_THE_WAY else f"{state} {error}".splitlines()[0]
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


def upserts(model: Any, row: Any) -> Iterator[Callable[[], Any]]:
    """Yield an INSERT ... ON CONFLICT DO UPDATE for each unique field."""
    names = [each.name for each in model._meta.local_concrete_fields if not each.primary_key]
    if model._meta.parents:  # bulk_create doesn't know inheritance
        return
    for field in model._meta.local_concrete_fields:
        others = [name for name in names if name != field.name]
        if field.unique and not field.primary_key and others:
            yield lambda unique=field.name, others=others: model._base_manager.bulk_create(
                [copied(row)],
                update_conflicts=True,
                unique_fields=[unique],
                update_fields=others[:1],
            )


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
