"""Names of the hooks that come with the package, each with the dotted path of its class.

Nothing here imports one: a project that uses none pays for none.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

_ROOM = "django_confiture.hooks.builtin"

SHIPPED: Mapping[str, str] = MappingProxyType(
    {
        "capture_counts": f"{_ROOM}.capture_counts.CaptureCounts",
        "verify_consistency": f"{_ROOM}.verify_consistency.VerifyConsistency",
    }
)
"""Registered name → dotted path."""
