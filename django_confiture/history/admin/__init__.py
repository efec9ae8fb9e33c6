"""The admin of the ledger, read-only, for users with the permission to view it."""

from __future__ import annotations

from django_confiture.history.admin.dry_runs import DryRunAdmin
from django_confiture.history.admin.executions import HookExecutionAdmin, MigrationExecutionAdmin
from django_confiture.history.admin.forecasts import ForecastAdmin

__all__ = ["DryRunAdmin", "ForecastAdmin", "HookExecutionAdmin", "MigrationExecutionAdmin"]
