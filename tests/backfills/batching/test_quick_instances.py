"""Instances that are made quickly are those that Django makes; where they can't be, Django does."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime, time
from decimal import Decimal
from typing import Any
from unittest.mock import patch
from uuid import UUID

import pytest
from django.apps import apps
from django.db import models, transaction
from django.db.models.signals import post_init, pre_init

from django_confiture.backfills.batching.batches import do_window
from django_confiture.backfills.batching.quick_instances import uncollected, with_quick_instances
from django_confiture.backfills.batching.windows import next_window
from django_confiture.backfills.declared.declaration import Backfill
from tests.support.backfills import shelf

__all__ = ["shelf"]  # a fixture

Rows = models.QuerySet[Any]


@contextmanager
def constructed() -> Iterator[list[Any]]:
    """Collect what Django makes: each call of ``from_db``, through which it goes."""
    made: list[Any] = []
    original = models.Model.from_db.__func__  # type: ignore[attr-defined]

    def from_db(cls: Any, *args: Any, **kwargs: Any) -> Any:
        made.append(cls)
        return original(cls, *args, **kwargs)

    with patch.object(models.Model, "from_db", classmethod(from_db)):
        yield made


@pytest.fixture
def everything(shelf: None) -> Rows:
    """Two rows, of every kind of column: one full, one of NULLs."""
    from tests.backfills.shelf.models import Book, Everything

    Everything.objects.create(
        text="ünï",
        number=2**40,
        price=Decimal("0.50000"),
        ratio=0.5,
        flag=True,
        day=date(2026, 2, 3),
        moment=datetime(2026, 2, 3, 4, 5, 6, tzinfo=UTC),
        clock=time(1, 2, 3),
        uuid=UUID(int=7),
        book=Book.objects.create(title="Emma"),
        data={"a": [1]},
    )
    Everything.objects.create()
    return Everything.objects.order_by("pk")


def test_they_are_those_that_django_makes(everything: Rows) -> None:
    annotated = everything.annotate(twice=models.F("number") * 2)
    wanted = [vars(each) for each in annotated]
    with constructed() as made:
        quick = list(with_quick_instances(annotated))
    assert made == []
    for instance, expected in zip(quick, wanted, strict=True):
        found = vars(instance)
        state, expected_state = found.pop("_state"), expected.pop("_state")
        assert found == expected
        assert (state.adding, state.db) == (expected_state.adding, expected_state.db)
        assert state.fields_cache == {}
        assert instance.get_deferred_fields() == set()


def test_they_can_be_changed_saved_and_followed(everything: Rows) -> None:
    first, second = with_quick_instances(everything)
    assert first.book.title == "Emma"
    first.book = None
    assert first.book_id is None
    second.text = "changed"
    first.save()
    second.save()
    assert list(everything.values_list("text", "book_id")) == [("ünï", None), ("changed", None)]
    assert first != second


def test_what_is_derived_is_made_quickly_too(everything: Rows) -> None:
    with constructed() as made:
        (row,) = with_quick_instances(everything).filter(flag=True)
    assert row.text == "ünï"
    assert made == []


@pytest.mark.parametrize(
    "derived",
    [
        lambda rows: rows.only("text"),
        lambda rows: rows.defer("data"),
        lambda rows: rows.select_related("book"),
        lambda rows: rows.extra(select={"one": "1"}),
    ],
)
def test_rows_with_less_or_more_in_them_are_made_by_django(
    everything: Rows, derived: Callable[[Rows], Rows]
) -> None:
    wanted = [vars(each).keys() for each in derived(everything)]
    with constructed() as made:
        found = [vars(each).keys() for each in derived(with_quick_instances(everything))]
    assert len(made) >= 2
    assert found == wanted


@pytest.mark.parametrize("signal", [pre_init, post_init])
def test_who_listens_is_told(everything: Rows, signal: Any) -> None:
    heard: list[Any] = []

    def listen(**facts: Any) -> None:
        heard.append(facts["sender"])

    signal.connect(listen, sender=everything.model)
    try:
        list(with_quick_instances(everything))
    finally:
        signal.disconnect(listen, sender=everything.model)
    assert heard == [everything.model] * 2


@pytest.mark.parametrize("name", ["__init__", "__setattr__", "from_db"])
def test_a_models_own_code_runs(
    everything: Rows, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    called: list[str] = []
    original = getattr(everything.model, name)

    def own(*args: Any, **kwargs: Any) -> Any:
        called.append(name)
        return original(*(args[1:] if name == "from_db" else args), **kwargs)

    monkeypatch.setattr(everything.model, name, classmethod(own) if name == "from_db" else own)
    assert len(list(with_quick_instances(everything))) == 2
    assert called


def test_a_field_with_a_setter_of_its_own_is_set_by_django(
    everything: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Upper:
        def __get__(self, instance: Any, owner: Any) -> Any:
            return self if instance is None else instance.__dict__["text"]

        def __set__(self, instance: Any, value: Any) -> None:
            instance.__dict__["text"] = value and value.upper()

    monkeypatch.setattr(everything.model, "text", Upper())
    assert [each.text for each in with_quick_instances(everything)] == ["ÜNÏ", None]


@pytest.mark.parametrize(("size", "paused"), [(2000, True), (1999, False)])
def test_the_garbage_collector_waits_until_a_large_batch_is_done(
    everything: Rows, size: int, paused: bool
) -> None:
    seen: list[bool] = []

    class Looks(Backfill):
        model = "shelf.Everything"
        where = models.Q(done=False)
        fields = ("done",)

        def process(self, rows: Any) -> None:
            seen.append(gc.isenabled())
            for row in rows:
                row.done = True

    window = next_window(everything, after=None, high=None, size=size)
    assert window is not None
    with transaction.atomic():
        assert do_window(Looks(), window, using="default", apps=apps) == 2
    assert seen == [not paused]
    assert gc.isenabled()


def test_the_garbage_collector_is_as_it_was() -> None:
    assert gc.isenabled()
    with uncollected():
        assert not gc.isenabled()
    assert gc.isenabled()
    with pytest.raises(KeyError), uncollected():
        raise KeyError
    assert gc.isenabled()
    gc.disable()
    try:
        with uncollected():
            pass
        assert not gc.isenabled()
    finally:
        gc.enable()
