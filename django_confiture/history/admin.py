"""Look, but change nothing: who has the permission to view sees the ledger."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.contrib import admin, messages
from django.db import router

from django_confiture.history import chain
from django_confiture.history.models import (
    Forecast,
    HookExecution,
    MigrationExecution,
    StatementExecution,
)

if TYPE_CHECKING:
    from django.http import HttpRequest, HttpResponse

    _Inline = admin.TabularInline[Any, Any]
    _ExecutionAdmin = admin.ModelAdmin[MigrationExecution]
    _ForecastAdmin = admin.ModelAdmin[Forecast]
else:  # the classes of Django itself take no parameters
    _Inline = admin.TabularInline
    _ExecutionAdmin = _ForecastAdmin = admin.ModelAdmin

MOST_PROBLEMS = 5
"""So many of them are shown above the list."""


class _ReadOnly:
    """For nobody, superusers included."""

    def has_add_permission(self, *_args: object) -> bool:
        return False

    def has_change_permission(self, *_args: object) -> bool:
        return False

    def has_delete_permission(self, *_args: object) -> bool:
        return False


class _Statements(_ReadOnly, _Inline):
    model = StatementExecution
    fields = ("operation", "sql", "executions", "duration_ms", "rows")


class _Hooks(_ReadOnly, _Inline):
    model = HookExecution
    fields = ("hook", "phase", "outcome", "duration_ms", "rows", "error_type")


@admin.register(MigrationExecution)
class MigrationExecutionAdmin(_ReadOnly, _ExecutionAdmin):
    """What ran, with what is wrong with the ledger above it."""

    list_display = (
        "number",
        "app_label",
        "name",
        "direction",
        "database",
        "outcome",
        "duration_ms",
        "started_at",
        "os_user",
    )
    list_filter = ("outcome", "database", "app_label")
    search_fields = ("name",)
    date_hierarchy = "started_at"
    inlines = (_Statements, _Hooks)

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """Show the list, and say where the chain of hashes is broken."""
        problems = chain.verify(router.db_for_read(MigrationExecution))
        for problem in problems[:MOST_PROBLEMS]:
            messages.error(request, f"The ledger is not as it was written: {problem.message}.")
        if len(problems) > MOST_PROBLEMS:
            messages.error(
                request, f"{len(problems)} problems in all; see manage.py confiture_history_verify."
            )
        return super().changelist_view(request, extra_context)


@admin.register(Forecast)
class ForecastAdmin(_ReadOnly, _ForecastAdmin):
    """What dry runs forecast."""

    list_display = ("made_at", "app_label", "name", "direction", "database")
    list_filter = ("database", "app_label")
    search_fields = ("name",)
