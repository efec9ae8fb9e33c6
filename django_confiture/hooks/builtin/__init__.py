"""The hooks that come with the package, one file each; imported when they are asked for.

The names under which they are registered are in :mod:`django_confiture.hooks.shipped`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.utils.module_loading import import_string

from django_confiture.hooks.shipped import SHIPPED

if TYPE_CHECKING:
    from django_confiture.hooks.builtin.analyze import Analyze
    from django_confiture.hooks.builtin.backfill import Backfill
    from django_confiture.hooks.builtin.capture_counts import CaptureCounts
    from django_confiture.hooks.builtin.notify import Notify
    from django_confiture.hooks.builtin.remove_invalid_indexes import RemoveInvalidIndexes
    from django_confiture.hooks.builtin.require_backup import RequireBackup
    from django_confiture.hooks.builtin.require_free_space import RequireFreeSpace
    from django_confiture.hooks.builtin.require_no_drift import RequireNoDrift
    from django_confiture.hooks.builtin.require_no_long_transactions import (
        RequireNoLongTransactions,
    )
    from django_confiture.hooks.builtin.require_recent_dry_run import RequireRecentDryRun
    from django_confiture.hooks.builtin.run_queries import RunQueries
    from django_confiture.hooks.builtin.validate_tenant import ValidateTenant
    from django_confiture.hooks.builtin.verify_consistency import VerifyConsistency

__all__ = [
    "Analyze",
    "Backfill",
    "CaptureCounts",
    "Notify",
    "RemoveInvalidIndexes",
    "RequireBackup",
    "RequireFreeSpace",
    "RequireNoDrift",
    "RequireNoLongTransactions",
    "RequireRecentDryRun",
    "RunQueries",
    "ValidateTenant",
    "VerifyConsistency",
]


def __getattr__(name: str) -> Any:
    for path in SHIPPED.values():
        if path.rpartition(".")[2] == name:
            return import_string(path)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
