"""The hooks that come with the package, one file each; imported when they are asked for.

The names under which they are registered are in :mod:`django_confiture.hooks.shipped`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.utils.module_loading import import_string

from django_confiture.hooks.shipped import SHIPPED

if TYPE_CHECKING:
    from django_confiture.hooks.builtin.capture_counts import CaptureCounts
    from django_confiture.hooks.builtin.verify_consistency import VerifyConsistency

__all__ = [
    "CaptureCounts",
    "VerifyConsistency",
]


def __getattr__(name: str) -> Any:
    for path in SHIPPED.values():
        if path.rpartition(".")[2] == name:
            return import_string(path)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
