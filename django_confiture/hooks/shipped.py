"""Names of the hooks that come with the package, each with the dotted path of its class.

Nothing here imports one: a project that uses none pays for none.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

_CLASSES = {
    "capture_counts": "CaptureCounts",
    "verify_consistency": "VerifyConsistency",
    "require_no_long_transactions": "RequireNoLongTransactions",
    "require_backup": "RequireBackup",
    "require_recent_dry_run": "RequireRecentDryRun",
    "require_free_space": "RequireFreeSpace",
    "require_no_drift": "RequireNoDrift",
    "analyze": "Analyze",
    "run_queries": "RunQueries",
    "validate_tenant": "ValidateTenant",
    "remove_invalid_indexes": "RemoveInvalidIndexes",
    "notify": "Notify",
    "backfill": "Backfill",
}

SHIPPED: Mapping[str, str] = MappingProxyType(
    {
        name: f"django_confiture.hooks.builtin.{name}.{class_name}"
        for name, class_name in _CLASSES.items()
    }
)
"""Registered name → dotted path."""
