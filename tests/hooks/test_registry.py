"""Where hooks come from. Entry points of a real package are in test_entry_points.py."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator, Mapping
from importlib import metadata
from importlib.metadata import EntryPoint, EntryPoints
from types import ModuleType
from typing import Any

import pytest
from psycopg import Connection
from pytest_django import Settings

from django_confiture import (
    Hook,
    HookContext,
    HookLookupError,
    HookPhase,
    HookRegistry,
    HookResult,
    get_hook,
    register_hook,
)
from django_confiture.hooks import builtin
from django_confiture.hooks.registry import build_hook, registry
from django_confiture.hooks.shipped import SHIPPED
from django_confiture.testing import isolated_registry
from tests.support.logs import events

HERE = __name__


class First(Hook):
    phase = HookPhase.BEFORE_DDL

    def execute(self, conn: Connection[Any], context: HookContext) -> HookResult:
        return HookResult("BEFORE_DDL", "First")


class Second(First):
    pass


class NeedsMore(First):
    def __init__(self, more: str) -> None:
        raise AssertionError("not reached")


class Patient(First):
    timeout = "for ever"


class Unfinished(Hook):
    phase = HookPhase.AFTER_DDL


NO_CLASS = "no class"


@pytest.fixture(autouse=True)
def _restored() -> Iterator[None]:
    """Give the project's registry back as it was."""
    with isolated_registry():
        yield


@pytest.fixture
def packages(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[EntryPoint]]:
    """Return the entry points that installed packages offer; they are read on first use."""
    offered: list[EntryPoint] = []
    monkeypatch.setattr(metadata, "entry_points", lambda *, group: EntryPoints(offered))
    registry.__dict__.pop("_entry_points", None)
    yield offered
    registry.__dict__.pop("_entry_points", None)


def listed() -> list[str]:
    """Return the names of the project's registry, without those that the package brings."""
    return [name for name in registry.list_hooks() if name not in SHIPPED]


def entry(name: str, value: str) -> EntryPoint:
    return EntryPoint(name, value, "confiture.hooks")


# register, get, list_hooks, unregister


def test_a_registered_hook_is_found_and_listed_until_it_is_unregistered(
    packages: list[EntryPoint],
) -> None:
    hooks = HookRegistry()
    hooks.register("second", Second)
    hooks.register("first", First)
    assert hooks.get("first") is First
    assert hooks.list_hooks() == ["first", "second"]
    hooks.unregister("first")
    assert hooks.get("first") is None
    assert hooks.list_hooks() == ["second"]


def test_an_unknown_name_is_none_and_unregistering_it_is_no_error() -> None:
    hooks = HookRegistry()
    hooks.unregister("missing")
    assert hooks.get("missing") is None


@pytest.mark.parametrize("wrong", [int, 12, None, "shop.hooks.Backfill", First()])
def test_what_is_no_hook_class_is_a_type_error(wrong: Any) -> None:
    hooks = HookRegistry()
    with pytest.raises(TypeError, match=r"register\('wrong', \.\.\.\).*not a subclass of"):
        hooks.register("wrong", wrong)
    assert hooks.get("wrong") is None


@pytest.mark.parametrize("wrong", [First, None, 3])
def test_what_is_not_a_name_is_refused(wrong: Any) -> None:
    """A decorator without its name would else swallow the class."""
    fix = 'is not a name; write @register_hook\\("name"\\) above the class'
    with pytest.raises(TypeError, match=fix):
        register_hook(wrong)
    with pytest.raises(TypeError, match=fix):
        HookRegistry().register(wrong, First)


def test_a_fresh_registry_knows_entry_points_but_not_the_projects_settings(
    packages: list[EntryPoint], settings: Settings
) -> None:
    packages.append(entry("packaged", f"{HERE}:First"))
    settings.CONFITURE = {"HOOKS": {"configured": f"{HERE}.Second"}}
    register_hook("registered", Second)
    assert HookRegistry().list_hooks() == ["packaged"]
    assert listed() == ["configured", "packaged", "registered"]


def test_what_was_unregistered_stays_away_wherever_it_came_from_until_registered_again(
    packages: list[EntryPoint], settings: Settings
) -> None:
    packages.append(entry("packaged", f"{HERE}:First"))
    settings.CONFITURE = {"HOOKS": {"configured": f"{HERE}.Second"}}
    registry.unregister("packaged")
    registry.unregister("configured")
    assert listed() == []
    assert registry.get("configured") is None
    register_hook("packaged", Second)
    assert registry.get("packaged") is Second


# register_hook


def test_register_hook_registers_a_class_for_the_project() -> None:
    register_hook("called", First)
    assert get_hook("called") is First


def test_register_hook_decorates_a_class_and_leaves_it_as_it_is() -> None:
    @register_hook("decorated")
    class Decorated(First):
        pass

    assert Decorated.__name__ == "Decorated"
    assert get_hook("decorated") is Decorated


@pytest.mark.parametrize("wrong", [int, 12, None])
def test_register_hook_refuses_what_is_no_hook(wrong: Any) -> None:
    with pytest.raises(TypeError, match="not a subclass of"):
        register_hook("wrong", wrong)
    decorate = register_hook("wrong")
    with pytest.raises(TypeError, match="not a subclass of"):
        decorate(wrong)


def test_registering_loads_no_entry_points(
    packages: list[EntryPoint], monkeypatch: pytest.MonkeyPatch
) -> None:
    packages.append(entry("late", "confiture_late:Late"))
    register_hook("early", First)
    late = ModuleType("confiture_late")
    late.Late = Second  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "confiture_late", late)
    assert get_hook("late") is Second


# Precedence


def test_settings_win_over_entry_points_and_register_hook_over_both_and_say_so(
    packages: list[EntryPoint], settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "django_confiture.hooks")
    packages.append(entry("same", f"{HERE}:First"))
    assert get_hook("same") is First
    assert events(caplog) == []

    settings.CONFITURE = {"HOOKS": {"same": f"{HERE}.Second"}}
    assert get_hook("same") is Second
    settings_win = (
        f"hook 'same' from CONFITURE[\"HOOKS\"] overrides the one from entry point {HERE}:First"
    )
    assert [message for message, _ in events(caplog)] == [settings_win]

    caplog.clear()
    register_hook("same", Patient)
    assert get_hook("same") is Patient
    assert [message for message, _ in events(caplog)] == [
        settings_win,
        (
            f"hook 'same' from register_hook ({HERE}.Patient) overrides "
            'the one from CONFITURE["HOOKS"]'
        ),
    ]
    assert {record.levelname for record in caplog.records} == {"DEBUG"}


def test_the_later_of_two_registrations_wins_and_says_so(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG, "django_confiture.hooks")
    register_hook("same", First)
    register_hook("same", Second)
    assert get_hook("same") is Second
    (message, _), *_ = events(caplog)
    assert message == (
        f"hook 'same' from register_hook ({HERE}.Second) overrides "
        f"the one from register_hook ({HERE}.First)"
    )


def test_the_later_of_two_packages_wins_and_says_so(
    packages: list[EntryPoint], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "django_confiture.hooks")
    packages.extend([entry("same", f"{HERE}:First"), entry("same", f"{HERE}:Second")])
    assert HookRegistry().get("same") is Second
    assert len(events(caplog)) == 1


# Entry points


def test_each_entry_that_fails_is_one_warning_and_the_others_load(
    packages: list[EntryPoint], caplog: pytest.LogCaptureFixture
) -> None:
    packages.extend(
        [
            entry("absent", "confiture_absent.hooks:Backfill"),
            entry("no_attribute", f"{HERE}:Backfill"),
            entry("no_hook", f"{HERE}:NO_CLASS"),
            entry("good", f"{HERE}:First"),
        ]
    )
    hooks = HookRegistry()
    assert hooks.list_hooks() == ["good"]
    assert hooks.get("absent") is None
    warnings = [(record.levelname, record.getMessage()) for record in caplog.records]
    assert warnings == [
        (
            "WARNING",
            (
                "The confiture.hooks entry point 'absent' (confiture_absent.hooks:Backfill) "
                "was not loaded: ModuleNotFoundError: No module named 'confiture_absent'"
            ),
        ),
        (
            "WARNING",
            (
                f"The confiture.hooks entry point 'no_attribute' ({HERE}:Backfill) was not loaded: "
                f"AttributeError: module '{HERE}' has no attribute 'Backfill'"
            ),
        ),
        (
            "WARNING",
            (
                f"The confiture.hooks entry point 'no_hook' ({HERE}:NO_CLASS) was not loaded: "
                f"HookLookupError: entry point {HERE}:NO_CLASS: 'no class' is not a subclass of "
                "django_confiture.Hook. Give the class itself, not an instance."
            ),
        ),
    ]


def test_entry_points_can_be_switched_off(packages: list[EntryPoint], settings: Settings) -> None:
    packages.append(entry("packaged", f"{HERE}:First"))
    assert listed() == ["backfill_customer_lifetime_value", "packaged"]
    settings.CONFITURE = {"ENTRY_POINTS": False}
    assert listed() == []
    assert HookRegistry().list_hooks() == []


# Settings


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        (f"{HERE}.Nowhere", f"{HERE}.Nowhere' cannot be imported (ImportError: Module"),
        ("nowhere", "'nowhere' cannot be imported (ImportError: nowhere doesn't look like"),
        (f"{HERE}.NO_CLASS", f"'{HERE}.NO_CLASS' is 'no class', which is not a subclass of"),
        (f"{HERE}.events", "is not a subclass of django_confiture.Hook"),
        (12, "12 is not a subclass of django_confiture.Hook"),
        (["row"] * 99, "'row', ... is not a subclass"),
        (None, "None is not a subclass of django_confiture.Hook"),
        ({"OPTIONS": {}}, "has no HOOK. Write the dotted path of a Hook subclass"),
        ({"HOOK": f"{HERE}.First", "OPTIONS": 5}, '["OPTIONS"] is 5. Write a dictionary.'),
    ],
)
def test_a_setting_that_leads_to_no_hook_says_which(
    settings: Settings, setting: object, message: str
) -> None:
    settings.CONFITURE = {"HOOKS": {"wrong": setting}}
    with pytest.raises(HookLookupError) as caught:
        get_hook("wrong")
    assert str(caught.value).startswith("CONFITURE[\"HOOKS\"]['wrong']")
    assert message in str(caught.value)
    assert listed() == ["wrong"]


def test_a_module_that_fails_while_it_is_imported_is_named_with_its_error(
    settings: Settings, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "confiture_exploding.py").write_text("1 / 0")
    monkeypatch.syspath_prepend(str(tmp_path))
    settings.CONFITURE = {"HOOKS": {"wrong": "confiture_exploding.Backfill"}}
    with pytest.raises(HookLookupError, match=r"\(ZeroDivisionError: division by zero\)"):
        get_hook("wrong")


# build_hook


def test_a_hook_is_built_from_a_name_a_path_or_a_class_with_its_options_merged(
    settings: Settings,
) -> None:
    class Optioned(First):
        options: Mapping[str, Any] = {"a": "class", "b": "class", "c": "class"}

    settings.CONFITURE = {
        "HOOKS": {
            "configured": {"HOOK": Optioned, "OPTIONS": {"b": "settings", "c": "settings"}},
        }
    }
    built = build_hook("configured", {"c": "migration"}, where="here")
    assert type(built) is Optioned
    assert built.options == {"a": "class", "b": "settings", "c": "migration"}
    assert type(build_hook(f"{HERE}.First", where="here")) is First
    assert type(build_hook(First, where="here")) is First
    assert Optioned.options == {"a": "class", "b": "class", "c": "class"}


def test_a_registered_name_with_a_dot_is_no_path() -> None:
    register_hook("shop.backfill", Second)
    assert type(build_hook("shop.backfill", where="here")) is Second


REGISTERED = ", ".join(sorted({*SHIPPED, "backfill", "other"}))


@pytest.mark.parametrize(
    ("reference", "message"),
    [
        (
            "backfil",
            (
                "here: no hook is registered as 'backfil'. Did you mean 'backfill'? "
                f"Registered: {REGISTERED}. "
                'Add it to CONFITURE["HOOKS"], or give a dotted path or a class.'
            ),
        ),
        (
            "unlike",
            (
                f"here: no hook is registered as 'unlike'. Registered: {REGISTERED}. "
                'Add it to CONFITURE["HOOKS"], or give a dotted path or a class.'
            ),
        ),
        (
            "other",
            (
                "here: CONFITURE[\"HOOKS\"]['other']: 'nowhere.at.all' cannot be imported "
                "(ModuleNotFoundError: No module named 'nowhere'). Write the dotted path of a Hook "
                'subclass, such as "shop.hooks.Backfill".'
            ),
        ),
        (
            First(),
            "Give the class itself, not an instance.",
        ),
        (
            NeedsMore,
            (
                f"here: {HERE}.NeedsMore cannot be used: NeedsMore.__init__() missing 1 required "
                "positional argument: 'more'. A hook is created without arguments, and reads "
                "context.options."
            ),
        ),
        (
            Patient,
            (
                f"here: {HERE}.Patient cannot be used: Patient.timeout is 'for ever', which is not "
                "a duration. Write "
            ),
        ),
        (
            Unfinished,
            "Write what is missing; execute(self, conn, context) returns a HookResult.",
        ),
    ],
)
def test_what_cannot_be_built_says_who_asked_and_the_fix(
    packages: list[EntryPoint], settings: Settings, reference: Any, message: str
) -> None:
    settings.CONFITURE = {"HOOKS": {"backfill": f"{HERE}.First", "other": "nowhere.at.all"}}
    with pytest.raises(HookLookupError) as caught:
        build_hook(reference, where="here")
    assert str(caught.value).startswith("here: ")
    assert message in str(caught.value)


def test_without_any_hook_the_error_says_that_none_is_registered(
    packages: list[EntryPoint], settings: Settings
) -> None:
    settings.CONFITURE = {}
    for name in SHIPPED:
        registry.unregister(name)
    with pytest.raises(HookLookupError, match="Registered: none"):
        build_hook("backfill", where="here")


# Shipped hooks


def test_the_shipped_hooks_are_in_the_projects_registry_alone(
    packages: list[EntryPoint], settings: Settings
) -> None:
    settings.CONFITURE = {}
    assert registry.list_hooks() == sorted(SHIPPED)
    assert HookRegistry().list_hooks() == []


@pytest.mark.parametrize("name", sorted(SHIPPED))
def test_a_shipped_hook_is_found_under_its_name(name: str) -> None:
    found = registry.registration(name)
    assert found is not None
    assert found.source == "django_confiture itself"
    assert getattr(found.hook_class, "registered_name", None) == name
    assert getattr(builtin, found.hook_class.__name__) is found.hook_class
    assert found.hook_class.__name__ in builtin.__all__


def test_the_room_of_shipped_hooks_has_no_others() -> None:
    assert len(builtin.__all__) == len(SHIPPED)
    with pytest.raises(AttributeError, match="has no attribute 'Nothing'"):
        _ = builtin.Nothing


def test_every_other_place_wins_over_a_shipped_hook(
    packages: list[EntryPoint], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "django_confiture.hooks")
    packages.append(entry("capture_counts", f"{HERE}:First"))
    assert get_hook("capture_counts") is First
    ((message, _),) = events(caplog)
    assert message == (
        f"hook 'capture_counts' from entry point {HERE}:First overrides the one from "
        "django_confiture itself"
    )
