"""Where hooks come from: entry points, then settings, then ``register_hook``; a later one wins."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from functools import cached_property
from importlib.metadata import entry_points
from itertools import pairwise
from typing import Any, TypeVar, overload

from django.utils.module_loading import import_string

from django_confiture import conf
from django_confiture.exceptions import HookLookupError
from django_confiture.hooks.base import Hook

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
        """Register ``hook_class`` as ``name``; a ``TypeError`` for anything that is no hook."""
        registration = Registration(
            _hook_class(hook_class, f"register({name!r}, ...)"), "register_hook"
        )
        self._removed.discard(name)
        self._registered[name] = _Source(registration.source, lambda: registration)

    def get(self, name: str) -> type[Hook] | None:
        """Return the class that is registered as ``name``, ``None`` where there is none."""
        registration = self.registration(name)
        return registration.hook_class if registration is not None else None

    def list_hooks(self) -> list[str]:
        """Return the registered names, sorted."""
        return sorted({name for layer in self._layers() for name in layer} - self._removed)

    def unregister(self, name: str) -> None:
        """Remove ``name``, wherever it came from; nothing happens for an unknown name."""
        self._registered.pop(name, None)
        self._removed.add(name)

    def registration(self, name: str) -> Registration | None:
        """Return the class under ``name`` with its source and options.

        A settings entry that cannot be imported is a :class:`HookLookupError`.
        """
        if name in self._removed:
            return None
        found = [layer[name] for layer in self._layers() if name in layer]
        for loser, winner in pairwise(found):
            logger.debug(
                "hook %r from %s overrides the one from %s", name, winner.source, loser.source
            )
        return found[-1].load() if found else None

    def _layers(self) -> Iterator[Mapping[str, _Source]]:
        """Yield what each place offers; a later one wins."""
        yield self._entry_points
        yield self._registered

    @cached_property
    def _entry_points(self) -> Mapping[str, _Source]:
        if not conf.get("ENTRY_POINTS"):
            return {}
        found = {}
        for entry_point in entry_points(group=ENTRY_POINT_GROUP):
            source = f"entry point {entry_point.value}"
            try:
                hook_class = _hook_class(entry_point.load(), source)
            except Exception as error:  # noqa: BLE001 - whatever a foreign package raises
                logger.warning(
                    "The %s entry point %r (%s) was not loaded: %s: %s",
                    ENTRY_POINT_GROUP,
                    entry_point.name,
                    entry_point.value,
                    type(error).__name__,
                    error,
                )
                continue
            registration = Registration(hook_class, source)
            found[entry_point.name] = _Source(source, lambda found=registration: found)
        return found


@dataclass(frozen=True)
class _Source:
    """A name that one layer offers: where from, and how to get at its class."""

    source: str
    load: Callable[[], Registration]


class _GlobalRegistry(HookRegistry):
    """The registry that the project uses: with the hooks of ``settings.CONFITURE["HOOKS"]``."""

    def _layers(self) -> Iterator[Mapping[str, _Source]]:
        yield self._entry_points
        yield {
            name: _Source(
                'CONFITURE["HOOKS"]', lambda name=name, entry=entry: _from_settings(name, entry)
            )
            for name, entry in conf.get("HOOKS").items()
        }
        yield self._registered


def _from_settings(name: str, entry: object) -> Registration:
    where = f'CONFITURE["HOOKS"][{name!r}]'
    path: object = entry
    options: Mapping[str, Any] = {}
    if isinstance(entry, Mapping):
        path, options = entry.get("HOOK"), entry.get("OPTIONS") or {}
    return Registration(import_hook(path, where), 'CONFITURE["HOOKS"]', options)


def import_hook(path: object, where: str) -> type[Hook]:
    """Return the class at the dotted ``path``; a :class:`HookLookupError` that names ``where``."""
    if isinstance(path, type):
        imported: object = path
    else:
        try:
            imported = import_string(path)  # type: ignore[arg-type]
        except (ImportError, AttributeError, TypeError) as error:
            raise HookLookupError(
                f"{where} is {path!r}, which cannot be imported ({error}); "
                'write the dotted path of a Hook subclass, such as "shop.hooks.Backfill".'
            ) from error
    try:
        return _hook_class(imported, where)
    except TypeError as error:
        raise HookLookupError(str(error)) from error


def _hook_class(candidate: object, where: str) -> type[Hook]:
    if isinstance(candidate, type) and issubclass(candidate, Hook):
        return candidate
    raise TypeError(f"{where}: {candidate!r} is no subclass of django_confiture.Hook.")


registry = _GlobalRegistry()


@overload
def register_hook(name: str) -> Callable[[HookClass], HookClass]: ...
@overload
def register_hook(name: str, hook_class: type[Hook]) -> None: ...
def register_hook(
    name: str, hook_class: type[Hook] | None = None
) -> Callable[[HookClass], HookClass] | None:
    """Register a hook in the project's registry; without a class, a class decorator."""
    if hook_class is not None:
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

    ``where`` says in errors who asked: a migration and its operation, or a setting.
    """
    defaults: Mapping[str, Any] = {}
    if not isinstance(reference, str):
        hook_class = import_hook(reference, where)
    elif (registration := registry.registration(reference)) is not None:
        hook_class, defaults = registration.hook_class, registration.options
    elif "." in reference:
        hook_class = import_hook(reference, where)
    else:
        raise HookLookupError(f"{where}: {_unknown_name(reference)}")
    hook = hook_class()
    hook.options = {**hook.options, **defaults, **(options or {})}
    return hook


def _unknown_name(name: str) -> str:
    known = registry.list_hooks()
    close = get_close_matches(name, known, n=1)
    hint = f" Did you mean {close[0]!r}?" if close else ""
    listed = ", ".join(known) or "none"
    return (
        f"no hook is registered as {name!r}.{hint} Registered: {listed}. "
        'Add it to CONFITURE["HOOKS"], or give a dotted path or a class.'
    )
