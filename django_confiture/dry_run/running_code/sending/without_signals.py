"""Keeps the signals of a release's models from their receivers."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from typing import Any

from django.apps.registry import Apps
from django.db.models import signals

_SIGNALS = (
    signals.pre_init,
    signals.post_init,
    signals.pre_save,
    signals.post_save,
    signals.pre_delete,
    signals.post_delete,
    signals.m2m_changed,
)


@contextmanager
def without_signals(apps: Apps) -> Iterator[None]:
    """Tell no receiver about the models of ``apps``: what it does could not be undone."""
    with ExitStack() as stack:
        for signal in _SIGNALS:
            stack.callback(_put_back, signal)
            vars(signal)["send"] = partial(_send, signal.send, apps)
        yield


def _put_back(signal: Any) -> None:
    with suppress(KeyError):
        del vars(signal)["send"]


def _send(
    original: Callable[..., Sequence[Any]], apps: Apps, sender: Any, **named: Any
) -> Sequence[Any]:
    if getattr(getattr(sender, "_meta", None), "apps", None) is apps:
        return []
    return original(sender=sender, **named)
