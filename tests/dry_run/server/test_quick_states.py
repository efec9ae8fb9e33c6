"""States of models are copied and rendered faster during a dry run, with the same outcome."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from django.apps import apps
from django.db import models
from django.db.migrations.state import ModelState, ProjectState

from django_confiture.dry_run.server.quick_states import quick_states


@pytest.fixture
def quick() -> Iterator[None]:
    with quick_states():
        yield


def state() -> ModelState:
    fields: list[Any] = [
        ("id", models.BigAutoField(primary_key=True)),
        ("user", models.ForeignKey("auth.User", models.CASCADE)),
    ]
    options: dict[str, Any] = {
        "ordering": ["id"],
        "indexes": [models.Index(fields=["user"], name="by_user")],
    }
    return ModelState("shop", "Order", fields, options, managers=[("objects", models.Manager())])


def test_a_copy_is_what_djangos_own_is() -> None:
    """Attribute by attribute, with the same ones shared: true of each supported Django."""
    original = state()
    assert original.name_lower == "order"  # cached on the original
    djangos = original.clone()
    with quick_states():
        ours = original.clone()

    assert type(ours) is type(djangos)
    assert vars(ours) == vars(djangos)
    shared = {name: value is vars(original)[name] for name, value in vars(ours).items()}
    assert shared == {name: value is vars(original)[name] for name, value in vars(djangos).items()}
    assert not any(shared[name] for name in ("fields", "options", "managers"))


def test_a_renamed_copy_has_its_own_name_in_lower_case(quick: None) -> None:
    original = state()
    assert original.name_lower == "order"

    copied = original.clone()
    copied.name = "Purchase"

    assert (copied.name_lower, original.name_lower) == ("purchase", "order")


def test_a_class_of_ones_own_is_copied_its_own_way(quick: None) -> None:
    class Counted(ModelState):
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs)
            self.made = True

    copied = Counted("shop", "Order", []).clone()

    assert type(copied) is Counted
    assert copied.made


def test_what_is_changed_in_a_copy_stays_there(quick: None) -> None:
    before = ProjectState()
    before.add_model(state())

    after = before.clone()
    after.remove_field("shop", "order", "user")

    assert set(before.models["shop", "order"].fields) == {"id", "user"}
    assert set(after.models["shop", "order"].fields) == {"id"}


def test_swappable_models_are_found_as_ever(quick: None) -> None:
    labels = ["auth.User", "auth.user", "auth.Group", "shop.Order"]

    found = {label: apps.get_swappable_settings_name(label) for label in labels}

    assert found == dict(zip(labels, ["AUTH_USER_MODEL"] * 2 + [None] * 2, strict=True))


def test_models_of_states_do_not_have_them_looked_for_again(
    quick: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    apps.get_swappable_settings_name("auth.User")

    def asked_again(**_kwargs: object) -> list[type[models.Model]]:
        raise AssertionError("models are looked through again")

    monkeypatch.setattr(apps, "get_models", asked_again)

    project = ProjectState()
    project.add_model(ModelState("shop", "Item", [("id", models.AutoField(primary_key=True))]))
    assert project.apps.get_model("shop.Item")

    assert apps.get_swappable_settings_name("auth.User") == "AUTH_USER_MODEL"


def test_models_of_the_project_do(quick: None, monkeypatch: pytest.MonkeyPatch) -> None:
    assert apps.get_swappable_settings_name("auth.User") == "AUTH_USER_MODEL"
    monkeypatch.setattr(apps, "get_models", lambda **_kwargs: [])

    cached: Any = apps.get_swappable_settings_name
    cached.cache_clear()  # as clear_cache() does

    assert apps.get_swappable_settings_name("auth.User") is None
    cached.cache_clear()
