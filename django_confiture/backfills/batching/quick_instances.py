"""Model instances made straight from rows, for a third of what ``Model.__init__`` costs.

Django sets field after field and sends two signals for each instance: most of what ``process``
costs in Python. Where no one would notice the difference, the instance gets its attributes at
once; everywhere else Django makes it. The garbage collector, which walks through what was just
made again and again, waits until a batch is there, and until it is done where it is large: then it
takes half a second, and nothing of it is left.
"""

from __future__ import annotations

import gc
import inspect
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from django.db import models
from django.db.models.base import ModelState
from django.db.models.query import ModelIterable
from django.db.models.query_utils import DeferredAttribute
from django.db.models.signals import post_init, pre_init

if TYPE_CHECKING:
    _ModelIterable = ModelIterable[Any]
else:  # the class of Django itself takes no parameters
    _ModelIterable = ModelIterable

_NEEDED = {"_iterable_class", "_known_related_objects"}
"""Private names of Django's; where a release has others, Django makes the instances."""
_PLAIN_ATTRIBUTES = (DeferredAttribute, models.ForeignKey.descriptor_class)
"""Setting one of these stores the value under its name, and does nothing else."""


def with_quick_instances(rows: models.QuerySet[Any]) -> models.QuerySet[Any]:
    """Return ``rows`` whose instances are made quickly, wherever that makes no difference."""
    if not vars(rows).keys() >= _NEEDED:
        return rows
    quick = rows.all()
    quick._iterable_class = _QuickInstances
    return quick


@contextmanager
def uncollected() -> Iterator[None]:
    """Pause the garbage collector while many objects are made that all stay in use."""
    if not gc.isenabled():
        yield
        return
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


class _QuickInstances(_ModelIterable):
    """The iterable of a queryset, and of querysets derived from it."""

    def __iter__(self) -> Iterator[Any]:
        rows = self.queryset
        if _is_plain(rows) and _is_ordinary(rows.model, tuple(rows.query.annotation_select)):
            return self._instances()
        return super().__iter__()

    def _instances(self) -> Iterator[Any]:
        rows: Any = self.queryset
        model, database = rows.model, rows.db
        compiler = rows.query.get_compiler(using=database)
        results = compiler.execute_sql(chunked_fetch=self.chunked_fetch, chunk_size=self.chunk_size)
        names = [column[0].target.attname for column in compiler.select[: _fields(compiler)]]
        names += compiler.annotation_col_map or ()
        new = object.__new__
        for row in compiler.results_iter(results):
            state = ModelState()
            state.adding, state.db = False, database
            made = new(model)
            made.__dict__ = values = dict(zip(names, row, strict=True))
            values["_state"] = state
            yield made


def _fields(compiler: Any) -> int:
    """Return how many of the columns are fields; annotations follow them."""
    return len(compiler.klass_info["select_fields"])


def _is_plain(rows: Any) -> bool:
    """Return whether each row is one whole instance, with nothing related to it."""
    query, fetch_mode = rows.query, vars(rows).get("_fetch_mode")
    return (
        not query.select_related
        and not query.extra_select
        and query.deferred_loading == (frozenset(), True)
        and not rows._known_related_objects
        and fetch_mode is vars(models.QuerySet(rows.model)).get("_fetch_mode")
    )


def _is_ordinary(model: type[models.Model], annotated: tuple[str, ...]) -> bool:
    """Return whether making an instance runs no code of the project or of a field."""
    overridden = any(
        inspect.getattr_static(model, name) is not inspect.getattr_static(models.Model, name)
        for name in ("__new__", "__init__", "__setattr__", "from_db")
    )
    listened_to = pre_init.has_listeners(model) or post_init.has_listeners(model)
    return (
        not overridden
        and not listened_to
        and not any(hasattr(model, name) for name in annotated)
        and all(
            type(inspect.getattr_static(model, field.attname)) in _PLAIN_ATTRIBUTES
            for field in model._meta.concrete_fields
        )
    )
