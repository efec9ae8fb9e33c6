"""Where hooks come from: entry points, then settings, then ``register_hook``; a later one wins.

The shipped hooks come before all of these.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from difflib import get_close_matches
from functools import cached_property, partial
from importlib import metadata
from itertools import pairwise
from typing import Any, TypeVar, overload

from django_confiture import conf
from django_confiture.exceptions import HookLookupError
from django_confiture.hooks.base import Hook, HookPolicy
from django_confiture.hooks.dotted_paths import WRITE_A_PATH, as_hook_class, import_hook
from django_confiture.hooks.shipped import SHIPPED

logger = logging.getLogger("django_confiture.hooks")

ENTRY_POINT_GROUP = "confiture.hooks"

HookClass = TypeVar("HookClass", bound=type[Hook])


@dataclass(frozen=True)
class Registration:
    """One name of the registry: its class, where it comes from, its ``OPTIONS``."""

    hook_class: type[Hook]
    source: str
    options: Mapping[str, Any] = field(default_factory=dict)


class HookRegistry:
    """Hooks by name. Entry points of the group ``confiture.hooks`` are loaded on first use."""

    def __init__(self) -> None:
        self._registered: dict[str, _Source] = {}
        self._removed: set[str] = set()

    def register(self, name: str, hook_class: type[Hook]) -> None:
        """Register ``hook_class`` as ``name``; a ``TypeError`` for what is not a name or a hook.

        Loads no entry points, so that a module may register its hooks when it is imported.
        """
        _check_name(name)
        try:
            checked = as_hook_class(hook_class, f"register({name!r}, ...)")
        except HookLookupError as error:
            raise TypeError(str(error)) from error
        registration = Registration(checked, f"register_hook ({_path(checked)})")
        self._removed.discard(name)
        _put(self._registered, name, _Source.of(registration))

    def get(self, name: str) -> type[Hook] | None:
        """Return the class that is registered as ``name``, ``None`` where there is none.

        Raises :class:`HookLookupError` for a settings entry that does not lead to a hook.
        """
        registration = self.registration(name)
        return registration.hook_class if registration is not None else None

    def list_hooks(self) -> list[str]:
        """Return the registered names, sorted."""
        return sorted({name for layer in self._layers() for name in layer} - self._removed)

    def unregister(self, name: str) -> None:
        """Remove ``name``, wherever it came from; nothing happens for an unknown name."""
        self._registered.pop(name, None)
        self._removed.add(name)

    @contextmanager
    def isolated(self) -> Iterator[None]:
        """Forget what is registered and unregistered inside the ``with`` block when it ends."""
        before = self._registered.copy(), self._removed.copy()
        try:
            yield
        finally:
            self._registered, self._removed = before

    def registration(self, name: str) -> Registration | None:
        """Return the class under ``name`` with its source and options; see :meth:`get`."""
        if name in self._removed:
            return None
        found = [layer[name] for layer in self._layers() if name in layer]
        for loser, winner in pairwise(found):
            _say_which_wins(name, winner, loser)
        return found[-1].load() if found else None

    def _layers(self) -> Iterator[Mapping[str, _Source]]:
        """Yield what each place offers; a later one wins."""
        yield self._offered_by_packages()
        yield self._registered

    def _offered_by_packages(self) -> Mapping[str, _Source]:
        return self._entry_points if conf.get("ENTRY_POINTS") else {}

    @cached_property
    def _entry_points(self) -> Mapping[str, _Source]:
        found: dict[str, _Source] = {}
        for entry_point in metadata.entry_points(group=ENTRY_POINT_GROUP):
            source = f"entry point {entry_point.value}"
            try:
                hook_class = as_hook_class(entry_point.load(), source)
            except Exception as error:  # noqa: BLE001 - a third-party package may raise anything
                logger.warning(
                    "The %s entry point %r (%s) was not loaded: %s: %s",
                    ENTRY_POINT_GROUP,
                    entry_point.name,
                    entry_point.value,
                    type(error).__name__,
                    error,
                )
                continue
            _put(found, entry_point.name, _Source.of(Registration(hook_class, source)))
        return found


@dataclass(frozen=True)
class _Source:
    """A name that one layer offers: where from, and how to get at its class."""

    source: str
    load: Callable[[], Registration]

    @classmethod
    def of(cls, registration: Registration) -> _Source:
        return cls(registration.source, lambda: registration)


def _check_name(name: object) -> None:
    if not isinstance(name, str):
        raise TypeError(f'{name!r} is not a name; write @register_hook("name") above the class.')


def _put(layer: dict[str, _Source], name: str, source: _Source) -> None:
    if name in layer:
        _say_which_wins(name, source, layer[name])
    layer[name] = source


def _say_which_wins(name: str, winner: _Source, loser: _Source) -> None:
    logger.debug("hook %r from %s overrides the one from %s", name, winner.source, loser.source)


class _GlobalRegistry(HookRegistry):
    """The registry that the project uses.

    It also has the shipped hooks, which all others override, and the hooks in
    ``settings.CONFITURE["HOOKS"]``.
    """

    def _layers(self) -> Iterator[Mapping[str, _Source]]:
        yield {
            name: _Source(SHIPPED_SOURCE, partial(_shipped, name, path))
            for name, path in SHIPPED.items()
        }
        yield self._offered_by_packages()
        yield {
            name: _Source('CONFITURE["HOOKS"]', partial(_from_settings, name, entry))
            for name, entry in conf.get("HOOKS").items()
        }
        yield self._registered


SHIPPED_SOURCE = "django_confiture itself"


def _shipped(name: str, path: str) -> Registration:
    return Registration(import_hook(path, name), SHIPPED_SOURCE)


def _from_settings(name: str, entry: object) -> Registration:
    where = f'CONFITURE["HOOKS"][{name!r}]'
    if not isinstance(entry, Mapping):
        return Registration(import_hook(entry, where), 'CONFITURE["HOOKS"]')
    if "HOOK" not in entry:
        raise HookLookupError(f"{where} has no HOOK", WRITE_A_PATH)
    options = {} if entry.get("OPTIONS") is None else entry["OPTIONS"]
    if not isinstance(options, Mapping):
        raise HookLookupError(f'{where}["OPTIONS"] is {options!r}', "Write a dictionary.")
    return Registration(import_hook(entry["HOOK"], where), 'CONFITURE["HOOKS"]', options)


def _path(hook_class: type[Hook]) -> str:
    return f"{hook_class.__module__}.{hook_class.__qualname__}"


registry = _GlobalRegistry()

_DECORATED: Any = object()
"""Stands for the class that the decorator will get; None would be a wrong class."""


@overload
def register_hook(name: str) -> Callable[[HookClass], HookClass]: ...
@overload
def register_hook(name: str, hook_class: type[Hook]) -> None: ...
def register_hook(
    name: str, hook_class: type[Hook] = _DECORATED
) -> Callable[[HookClass], HookClass] | None:
    """Register a hook in the project's registry; without a class, a class decorator."""
    _check_name(name)
    if hook_class is not _DECORATED:
        registry.register(name, hook_class)
        return None

    def decorate(decorated: HookClass) -> HookClass:
        registry.register(name, decorated)
        return decorated

    return decorate


def get_hook(name: str) -> type[Hook] | None:
    """Return the class that the project's registry has under ``name``, else ``None``."""
    return registry.get(name)


def build_hook(
    reference: str | type[Hook], options: Mapping[str, Any] | None = None, *, where: str
) -> Hook:
    """Return an instance for a registered name, a dotted path or a class, its options merged.

    ``where`` says in errors who asked: a migration and its operation, or a setting. Raises
    :class:`HookLookupError` for anything that does not lead to a hook that can run.
    """
    found = _find(reference, where)
    unusable = f"{where}: {_path(found.hook_class)} cannot be used"
    try:
        hook = found.hook_class()
        HookPolicy.of(hook)
    except conf.SettingError as error:
        fix = f"{error.fix[0].upper()}{error.fix[1:]}."
        raise HookLookupError(f"{unusable}: {error.problem}", fix) from error
    except Exception as error:
        fix = _what_to_write(found.hook_class)
        raise HookLookupError(f"{unusable}: {str(error).removesuffix('.')}", fix) from error
    hook.options = {**hook.options, **found.options, **(options or {})}
    return hook


def _what_to_write(hook_class: type[Hook]) -> str:
    """Return how to mend a class of which no instance can be made."""
    if hook_class.__abstractmethods__:
        return "Write what is missing; execute(self, conn, context) returns a HookResult."
    return "A hook is created without arguments, and reads context.options."


def _find(reference: object, where: str) -> Registration:
    if not isinstance(reference, str):
        return Registration(import_hook(reference, where), where)
    try:
        registration = registry.registration(reference)
    except HookLookupError as error:
        raise HookLookupError(f"{where}: {error.problem}", error.fix) from error
    if registration is not None:
        return registration
    if "." not in reference:
        raise HookLookupError(
            f"{where}: no hook is registered as {reference!r}", _known_names(reference)
        )
    return Registration(import_hook(reference, where), where)


def _known_names(name: str) -> str:
    known = registry.list_hooks()
    close = get_close_matches(name, known, n=1)
    hint = f"Did you mean {close[0]!r}? " if close else ""
    listed = ", ".join(known) or "none"
    return (
        f"{hint}Registered: {listed}. "
        'Add it to CONFITURE["HOOKS"], or give a dotted path or a class.'
    )
