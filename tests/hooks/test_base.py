"""What a hook receives, without a migration around it."""

from __future__ import annotations

import pytest
from django.apps import apps
from django.db import connections, transaction

from django_confiture import HookContext


@pytest.fixture
def context() -> HookContext:
    return HookContext("0003_add_segment", "0003")


def test_in_a_unit_test_a_context_has_empty_facts(context: HookContext) -> None:
    assert context.app_label == ""
    assert context.using is None
    assert context.connection is None
    assert context.options == {}
    assert context.phase == ""
    assert context.plan == ()
    assert context.dry_run is False
    assert context.error is None


@pytest.mark.parametrize("direction", ["up", "FORWARD", ""])
def test_a_direction_is_forward_or_backward(direction: str) -> None:
    with pytest.raises(ValueError, match=r"direction is '.*'; use 'forward' or 'backward'\."):
        HookContext("0003_add_segment", "0003", direction)


@pytest.mark.parametrize(
    ("app_label", "label"), [("shop", "shop.0003_add_segment"), ("", "0003_add_segment")]
)
def test_a_context_shows_the_migration_as_django_does(app_label: str, label: str) -> None:
    context = HookContext("0003_add_segment", "0003", "backward", app_label=app_label)
    assert context.label == label
    assert repr(context) == f"<HookContext {label} backward>"


def test_apps_outside_a_migration_is_an_error_that_says_how_to_test(context: HookContext) -> None:
    with pytest.raises(RuntimeError, match=r"HookContext\(\.\.\., apps=lambda: django\.apps\.apps"):
        _ = context.apps
    assert HookContext("0003_add_segment", "0003", apps=lambda: apps).apps is apps


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(
    "context",
    [
        HookContext("0003_add_segment", "0003"),
        HookContext("0003_add_segment", "0003", connection=connections["default"], dry_run=True),
    ],
)
def test_without_a_connection_or_in_a_dry_run_on_commit_is_recorded_and_not_called(
    context: HookContext,
) -> None:
    called: list[str] = []

    def call() -> None:
        called.append("called")

    with transaction.atomic():
        context.on_commit(call)
    assert context.recorded_on_commit == [call]
    assert called == []


def test_progress_goes_to_all_listeners(context: HookContext) -> None:
    seen: list[tuple[int, int | None]] = []
    context.progress(1, 10)
    context.on_progress = lambda done, total: seen.append((done, total))
    context.progress(2, 10)
    context.progress(3)
    assert seen == [(2, 10), (3, None)]
