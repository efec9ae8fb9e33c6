"""What two releases can really do on each other's schema: committed, with the plain ORM."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from django.apps.registry import Apps
from django.db import DatabaseError, connection, transaction
from django.db.migrations import Migration
from django.db.migrations.operations.base import Operation
from django.db.migrations.state import ProjectState
from django.db.models import Model

from tests.support.dry_run import migration

Get = Callable[[str], Any]
MakeRow = Callable[[int, Get], dict[str, Any]]
Rows = Mapping[str, Sequence[MakeRow]]
"""Model → ways to fill a row; each takes a number that no other row has, and a look-up of keys."""

Outcomes = dict[tuple[str, str], str]
"""(model, action) → why it fails: a SQLSTATE, or the name of the error; "" where it does not.

A way that only some code has follows after the action: "update in bulk".
"""

ACTIONS = ("select", "insert", "update", "delete")


@dataclass(frozen=True)
class Case:
    """A release, a plan, and what each release writes."""

    name: str
    first: Sequence[Operation]
    """What makes the schema of the running release."""
    plan: Sequence[Sequence[Operation]]
    """The operations of each migration."""
    rows: Rows
    """What the running release writes."""
    new_rows: Rows = field(default_factory=dict)
    """What the new one writes where that differs."""
    empty: bool = False
    """Whether the tables have no rows when the plan starts."""
    unfilled: Collection[str] = ()
    """The models of which no row is there when the plan starts."""
    setup: str = ""
    """SQL before the plan."""
    cleanup: str = ""
    atomic: bool = True

    def migrations(self) -> list[Migration]:
        return [
            migration(*operations, atomic=self.atomic, name=f"{number:04}_step")
            for number, operations in enumerate(self.plan, 2)
        ]


def applied(state: ProjectState, *migrations: Migration) -> ProjectState:
    """Commit migrations on top of a state; return the state after them."""
    state = state.clone()
    for each in migrations:
        with connection.schema_editor(atomic=each.atomic) as editor:
            state = each.apply(state, editor)
    return state


def after(state: ProjectState, *migrations: Migration) -> ProjectState:
    """Return the state after migrations, without a look at the database."""
    state = state.clone()
    for model in state.models.values():  # ``RenameField`` changes foreign keys in place
        model.fields = {name: each.clone() for name, each in model.fields.items()}
    for each in migrations:
        state = each.mutate_state(state, preserve=True)
    return state


class Writer:
    """Works with the models of one release as its code would."""

    def __init__(self, state: ProjectState, rows: Rows) -> None:
        self.apps: Apps = ProjectState(
            {key: model.clone() for key, model in state.models.items()}
        ).apps
        self._rows = rows
        self._number = 1000
        self._known: dict[str, Any] = {}

    @property
    def models(self) -> list[type[Model]]:
        found = {
            each._meta.object_name: each for each in self.apps.get_models(include_auto_created=True)
        }
        return [found[name] for name in self._rows if name in found]

    def fill(self, *, unfilled: Collection[str]) -> None:
        """Commit a row of each kind, with numbers that no row has which is tried later."""
        self._number = 0
        for model in self.models:
            if model._meta.object_name in unfilled:
                continue
            for make in self._rows[model._meta.object_name or ""]:
                if model._meta.managed:
                    self._new(model, make).save(force_insert=True)

    def captured(self, keys: Mapping[str, Sequence[Any]] | None = None) -> dict[str, list[Model]]:
        """Return every row, as it is held by code that read it in time.

        Where none can be read, rows of which only the ``keys`` are known.
        """
        found = {}
        for model in self.models:
            try:
                with transaction.atomic():
                    rows = list(model._base_manager.order_by("pk"))
            except Exception:  # noqa: BLE001 - then nothing could be read
                rows = []
            found[model._meta.label] = rows or [
                self._held(model, pk)
                for pk in (keys or {}).get(model._meta.label, [1])
                if self._rows[model._meta.object_name or ""]
            ]
        return found

    def _held(self, model: type[Model], pk: Any) -> Model:
        row = self._new(model, self._rows[model._meta.object_name or ""][0])
        row.pk = pk
        for parent in model._meta.get_parent_list():
            setattr(row, parent._meta.pk.attname, pk)
        row._state.adding = False
        return row

    def outcomes(self, held: Mapping[str, Sequence[Model]], *, upserts: bool = False) -> Outcomes:
        """Try every action with every row; ``held`` are the rows that the release has read."""
        found: Outcomes = {}
        for model in self.models:
            for action, attempt in self._attempts(
                model, held.get(model._meta.label, ()), upserts=upserts
            ):
                key = (model._meta.label, action)
                if not found.get(key):
                    found[key] = _outcome(attempt)
        return found

    def _attempts(
        self, model: type[Model], held: Sequence[Model], *, upserts: bool
    ) -> Iterator[tuple[str, Callable[[], object]]]:
        manager = model._base_manager
        yield "select", lambda: list(manager.all())
        if model._meta.managed:  # rows of many a view can't be locked, and no release tries it
            yield "select", lambda: list(manager.select_for_update())
        through = bool(model._meta.auto_created)
        for make in self._rows[model._meta.object_name or ""]:
            yield "insert", partial(self._insert, model, make, 1)
            if not through:
                yield "insert", partial(self._insert, model, make, 2)
            if not (through or model._meta.parents):
                if upserts:
                    yield "insert ignoring conflicts", partial(self._insert_ignoring, model, make)
                yield "insert in bulk", partial(self._insert_in_bulk, model, make)
        for row in held:
            if not through:
                yield "select", manager.filter(pk=row.pk).first
                yield "update", partial(_update, row)
            yield "delete", partial(_remove if through else _delete, row)
            yield "delete", manager.filter(pk=row.pk).delete
        for make in self._rows[model._meta.object_name or ""] if held and not through else ():
            yield "update", partial(self._change, held[0], make, _update)
            yield "update in bulk", partial(self._change, held[0], make, _update_in_bulk)
            renamed = partial(self._change, held[0], make, _update, renames=True)
            yield "update with new names", renamed
        if held and upserts:
            yield from self._upserts(model, held[0])

    def _upserts(
        self, model: type[Model], row: Model
    ) -> Iterator[tuple[str, Callable[[], object]]]:
        """Yield what writes a row again by each set of fields that is unique."""
        sets = [[each.name] for each in model._meta.local_fields if each.unique]
        sets += map(list, model._meta.unique_together)
        others = [
            each.name
            for each in model._meta.local_fields
            if not (each.primary_key or each.generated)
        ]
        for names in sets:
            left = [name for name in others if name not in names]
            if left and names != [model._meta.pk.name] and not model._meta.parents:
                yield (
                    "insert",
                    partial(
                        model._base_manager.bulk_create,
                        [_copied(row)],
                        update_conflicts=True,
                        unique_fields=names,
                        update_fields=left,
                    ),
                )

    def _insert(self, model: type[Model], make: MakeRow, times: int) -> None:
        for _time in range(times):
            row = self._new(model, make)
            if model._meta.auto_created:
                model._base_manager.bulk_create([row], ignore_conflicts=True)
            else:
                row.save(force_insert=True)

    def _insert_in_bulk(self, model: type[Model], make: MakeRow) -> None:
        model._base_manager.bulk_create([self._new(model, make) for _time in range(2)])

    def _insert_ignoring(self, model: type[Model], make: MakeRow) -> None:
        model._base_manager.bulk_create([self._new(model, make)], ignore_conflicts=True)

    def _change(
        self,
        row: Model,
        make: MakeRow,
        update: Callable[[Model], object],
        *,
        renames: bool = False,
    ) -> None:
        """Save a row with the values of a new one; what is unique stays unless it ``renames``."""
        self._number += 1
        changed, given = _copied(row), make(self._number, self._key)
        for each in row._meta.local_concrete_fields:
            if each in row._meta.pk_fields or each.generated:
                continue
            if each.null and not (each.has_default() or each.has_db_default()):
                setattr(changed, each.attname, None)
            stays = each.unique and not renames
            for name in {each.name, each.attname} & given.keys() if not stays else ():
                setattr(changed, name, given[name])
        update(changed)

    def _new(self, model: type[Model], make: MakeRow) -> Model:
        self._number += 1
        return model(**make(self._number, self._key))

    def _key(self, name: str) -> Any:
        """Return the key of a row that is there, or was when this release last looked."""
        model = self.apps.get_model("cases", name)
        try:
            with transaction.atomic():
                found = model._base_manager.order_by("pk").values_list("pk", flat=True)[0]
        except (DatabaseError, IndexError):
            return self._known.get(name, 1)
        self._known[name] = found
        return found


def _update(row: Model) -> None:
    try:
        with transaction.atomic():
            _copied(row).save(force_update=True)
    except DatabaseError as error:
        if "did not affect any rows" not in str(error):
            raise
        if type(row)._base_manager.filter(pk=row.pk).exists():
            _copied(row).save()


def _update_in_bulk(row: Model) -> None:
    names = [
        each.name
        for each in row._meta.local_concrete_fields
        if not (each in row._meta.pk_fields or each.primary_key or each.generated)
    ]
    if names:
        type(row)._base_manager.bulk_update([row], names)


def _delete(row: Model) -> None:
    _copied(row).delete()


def _remove(row: Model) -> None:
    """Delete a row of a many-to-many field as its manager does."""
    ends = [each.attname for each in row._meta.local_fields if each.is_relation]
    type(row)._base_manager.filter(**{name: getattr(row, name) for name in ends}).delete()


def _copied(row: Model) -> Model:
    """Return an instance that may be changed: ``copy`` would look for a model of the project."""
    fields = [each for each in row._meta.concrete_fields if not each.generated]
    values = [getattr(row, each.attname) for each in fields]
    return type(row).from_db("default", [each.attname for each in fields], values)


def _outcome(attempt: Callable[[], object]) -> str:
    try:
        with transaction.atomic():
            attempt()
            with connection.cursor() as cursor:
                cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
            raise _DoneError
    except _DoneError:
        return ""
    except Exception as error:  # noqa: BLE001
        sqlstate = getattr(error.__cause__, "sqlstate", None)
        return sqlstate or type(error).__name__


class _DoneError(Exception):
    """Rolls back what went well."""
