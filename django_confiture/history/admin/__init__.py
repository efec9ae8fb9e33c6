"""The admin of the ledger, read-only, for users with the permission to view it."""

from __future__ import annotations

from django_confiture.history.admin.executions import (
    DryRunAdmin,
    ForecastAdmin,
    HookExecutionAdmin,
    MigrationExecutionAdmin,
)

__all__ = ["DryRunAdmin", "ForecastAdmin", "HookExecutionAdmin", "MigrationExecutionAdmin"]
