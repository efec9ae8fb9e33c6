"""What a backfill is: a class in ``<app>/backfills.py``, found by its dotted path."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, ClassVar

from django.apps import apps as live_apps
from django.core.exceptions import FieldDoesNotExist
from django.db import models, router
from django.utils.module_loading import autodiscover_modules, import_string

from django_confiture.backfills.declared.class_text import text_hash
from django_confiture.exceptions import BackfillLookupError
from django_confiture.formatting import listed

if TYPE_CHECKING:
    from django.apps.registry import Apps

LOW_ABOVE = re.compile(r"(?<![<>=])>\s*%\(low\w*\)s")
"""``> %(low)s``: the SQL takes the lower bound as the last key of the batch before."""
_HIGH_BELOW = re.compile(r"<(?!=)\s*%\(high\w*\)s")


class Backfill:
    """A backfill: the rows to fill, and how. Subclass it in ``<app>/backfills.py``.

    Set ``model``, ``where``, and one of ``values``, ``process`` and ``sql``.
    """

    model: ClassVar[str]
    """The model, such as ``"shop.Order"``."""

    where: ClassVar[models.Q | None] = None
    """What is still to be done. A row that is done must no longer match.

    None is for ``sql`` alone: each key is then done once, and what is inserted behind the last
    one meanwhile, too.
    """

    values: ClassVar[Mapping[str, Any] | None] = None
    """Field → expression, as in ``QuerySet.update()``."""

    sql: ClassVar[str] = ""
    """An ``INSERT`` or ``UPDATE`` with ``%(low)s`` and ``%(high)s``, the batch's first and last
    key: ``WHERE id BETWEEN %(low)s AND %(high)s``. For a composite key, with ``%(low_<column>)s``
    and ``%(high_<column>)s``."""

    fields: ClassVar[tuple[str, ...]] = ()
    """What ``process`` changes in its rows; it is then written in one statement a batch. Without
    it, ``process`` writes by itself."""

    on_row_error: ClassVar[str] = "stop"
    """A row that can't be done: ``"stop"`` fails the backfill there, ``"continue"`` notes it and
    goes on; the backfill then fails at its end."""

    mirror: ClassVar[bool] = False
    """Whether a trigger keeps ``values`` up to date while the backfill is under way."""

    throttles: ClassVar[tuple[Any, ...] | None] = None
    """Entries as in ``CONFITURE["BACKFILLS"]["THROTTLES"]``, which they replace."""

    class_hash: ClassVar[str] = ""
    """A hash of the class's text, as it was imported; empty where that is not to be had."""

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """Read the class's text now: a deploy may write another file under a running process."""
        super().__init_subclass__(**kwargs)
        cls.class_hash = text_hash(cls, Backfill)

    def process(self, rows: models.QuerySet[Any]) -> None:
        """Do what ``values`` can't, to ``rows``: locked, in the order of their keys."""
        raise NotImplementedError

    # What the package reads.

    @classmethod
    def path(cls) -> str:
        """Return the dotted path by which it is known."""
        return f"{cls.__module__}.{cls.__qualname__}"

    @property
    def way(self) -> str:
        """``"values"``, ``"sql"`` or ``"process"``."""
        if self.values is not None:
            return "values"
        return "sql" if self.sql else "process"

    def model_in(self, apps: Apps = live_apps) -> type[models.Model]:
        """Return the model, as it is now or as it was at a migration."""
        found: type[models.Model] = apps.get_model(self.model)
        return found

    def rows(self, using: str, apps: Apps = live_apps) -> models.QuerySet[Any]:
        """Return every row of the table."""
        return self.model_in(apps)._base_manager.using(using).all()

    def rows_to_do(self, using: str, apps: Apps = live_apps) -> models.QuerySet[Any]:
        """Return the rows that are still to be done; without ``where``, all of them."""
        rows = self.rows(using, apps)
        return rows if self.where is None else rows.filter(self.where)


def load_backfill(path: str) -> Backfill:
    """Return the backfill of a dotted path; a :class:`BackfillLookupError` says what is wrong."""
    try:
        found = import_string(path)
    except ImportError as error:
        raise BackfillLookupError(f"{path!r} is not a backfill: {error}{_hint(path)}") from error
    if not isinstance(found, type) or not issubclass(found, Backfill):
        raise BackfillLookupError(f"{path} is {found!r}; write a subclass of Backfill.")
    backfill = found()
    for problem in problems(backfill):
        raise BackfillLookupError(f"{path}: {problem}.")
    return backfill


def declared_backfills() -> dict[str, type[Backfill]]:
    """Return every backfill of the installed apps' ``backfills`` modules, by its path."""
    autodiscover_modules("backfills")
    names = {config.name + ".backfills" for config in live_apps.get_app_configs()}
    return {each.path(): each for each in _subclasses(Backfill) if each.__module__ in names}


def database_of(backfill: Backfill) -> str:
    """Return the alias that the routers write the model to."""
    return router.db_for_write(backfill.model_in())


def problems(backfill: Backfill) -> list[str]:
    """Return what is wrong with a declaration, each with its fix."""
    model_label = getattr(backfill, "model", None)
    if not isinstance(model_label, str) or model_label.count(".") != 1:
        return [f'model is {model_label!r}; write "app_label.Model"']
    try:
        model = backfill.model_in()
    except LookupError as error:
        return [f"model is {model_label!r}: {error}"]
    found = [
        *_way_problems(backfill),
        *_choice_problems(backfill),
        *_where_problems(backfill, model),
    ]
    for name in [*(backfill.values or ()), *backfill.fields]:
        try:
            model._meta.get_field(name)
        except FieldDoesNotExist:
            found.append(f"{name!r} is not a field of {model_label}; write the field's name")
    return found


def _way_problems(backfill: Backfill) -> list[str]:
    processes = type(backfill).process is not Backfill.process
    ways = [
        *(["values"] if backfill.values is not None else []),
        *(["sql"] if backfill.sql else []),
        *(["process()"] if processes else []),
    ]
    if len(ways) != 1:
        given = " and ".join(ways) or "none"
        return [f"it has {given} of values, process() and sql; write exactly one of them"]
    found = []
    if backfill.where is None and not backfill.sql:
        found.append("where is missing; write a Q that says which rows are still to be done")
    if backfill.mirror and backfill.values is None:
        found.append("mirror needs values; write values, or leave mirror out")
    if backfill.fields and not processes:
        found.append("fields is for process(); leave it out")
    return found + (_sql_problems(backfill) if backfill.sql else [])


def _sql_problems(backfill: Backfill) -> list[str]:
    sql = backfill.sql
    if "%(low" not in sql or "%(high" not in sql:
        return ["sql lacks %(low)s or %(high)s; write BETWEEN %(low)s AND %(high)s"]
    if _HIGH_BELOW.search(sql):
        return ["sql has < %(high)s, which leaves a row out; write <= %(high)s"]
    if LOW_ABOVE.search(sql) and not isinstance(backfill.model_in()._meta.pk, models.IntegerField):
        return ["sql has > %(low)s, which leaves a row out; write >= %(low)s"]
    return []


def _where_problems(backfill: Backfill, model: type[models.Model]) -> list[str]:
    """Return what ``where`` gets wrong of fields that are there.

    It may name others: a migration of long ago runs a backfill on the model as it was then.
    """
    if not isinstance(backfill.where, models.Q):
        return []
    return [
        f"where has {name}=None, which finds JSON's null and no NULL; write {name}__isnull=True"
        for name in _asked_for_none(backfill.where)
        if isinstance(_field(model, name), models.JSONField)
    ]


def _asked_for_none(condition: models.Q) -> Iterator[str]:
    """Yield the names of what is compared with None."""
    for child in condition.children:
        if isinstance(child, models.Q):
            yield from _asked_for_none(child)
        elif isinstance(child, tuple) and child[1] is None:
            yield child[0].removesuffix("__exact")


def _field(model: type[models.Model], name: str) -> object:
    """Return the model's field of a name; None where it leads elsewhere."""
    try:
        return model._meta.get_field(name)
    except FieldDoesNotExist:
        return None


def _choice_problems(backfill: Backfill) -> list[str]:
    if backfill.on_row_error not in ("stop", "continue"):
        return [f'on_row_error is {backfill.on_row_error!r}; write "stop" or "continue"']
    return []


def _subclasses(base: type[Backfill]) -> list[type[Backfill]]:
    direct = base.__subclasses__()
    return [*direct, *(deeper for each in direct for deeper in _subclasses(each))]


def _hint(path: str) -> str:
    declared = declared_backfills()
    if close := get_close_matches(path, declared, n=1):
        return f"; did you mean {close[0]!r}?"
    if declared:
        return f"; declared are {listed(sorted(declared))}."
    return "; write its class in <app>/backfills.py."
