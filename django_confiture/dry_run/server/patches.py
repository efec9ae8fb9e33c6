"""Patches of whole classes and modules: applied once, restored in reverse order on every way out.

Only what :data:`~django_confiture.dry_run.server.driver.PATCHED` lists can be patched; the tests
derive from it what a dry run has to restore.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from django_confiture.dry_run.server.driver import PATCHED
from django_confiture.dry_run.server.private_names import PrivateName

Wrap = Callable[[Callable[..., Any]], Any]
"""Takes the original and returns what stands in for it."""

_applied: set[PrivateName] = set()


@contextmanager
def patched(*patches: tuple[PrivateName, Wrap]) -> Iterator[None]:
    """Apply the patches in order; each can be active only once at a time."""
    with ExitStack() as stack:
        for name, wrap in patches:
            stack.enter_context(_applied_once(name))
            stack.enter_context(_replaced(name.resolved_owner(), name.name, wrap))
        yield


@contextmanager
def _applied_once(name: PrivateName) -> Iterator[None]:
    if name not in PATCHED:
        raise ValueError(f"{name} is not in the list of what a dry run patches.")
    if name in _applied:
        raise RuntimeError(f"{name} is patched already.")
    _applied.add(name)
    try:
        yield
    finally:
        _applied.discard(name)


@contextmanager
def _replaced(owner: Any, name: str, wrap: Wrap) -> Iterator[None]:
    original = inspect.getattr_static(owner, name)
    inherited = name not in vars(owner)
    if isinstance(original, classmethod):
        setattr(owner, name, classmethod(wrap(original.__func__)))
    else:
        setattr(owner, name, wrap(original))
    try:
        yield
    finally:
        if inherited:
            delattr(owner, name)
        else:
            setattr(owner, name, original)
