"""Forecasts in the admin: a list, and a chart against the real durations."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.template.response import TemplateResponse
from django.urls import path
from django.utils.translation import gettext_lazy as _

from django_confiture.history import hash_chain
from django_confiture.history.admin.read_only import LedgerAdmin, link, moment, ms, shown_migration
from django_confiture.history.models import Forecast, MigrationExecution

if TYPE_CHECKING:
    from django.http import HttpRequest, HttpResponse
    from django.urls import URLPattern


@admin.register(Forecast)
class ForecastAdmin(LedgerAdmin):
    """What dry runs forecast."""

    ledger = hash_chain.DRY_RUNS
    list_display = ("made", "migration", "expected", "between", "database")
    list_filter = ("database", "direction", "app_label")
    search_fields = ("app_label", "name")
    date_hierarchy = "made_at"
    fields = ("made", "migration", "database", "expected", "between", "basis", "dry_run_link")

    @admin.display(description=_("made at"), ordering="made_at")
    def made(self, row: Forecast) -> str:
        """Return when the dry run ended."""
        return moment(row.made_at)

    @admin.display(ordering="name")
    def migration(self, row: Forecast) -> str:
        """Return the migration that it is for."""
        return shown_migration(row)

    @admin.display(description=_("expected"), ordering="estimate__expected_ms")
    def expected(self, row: Forecast) -> str:
        """Return how long it was expected to take."""
        return ms(row.estimate["expected_ms"])

    @admin.display(description=_("range"))
    def between(self, row: Forecast) -> str:
        """Return the range, and how often such ranges are expected to hold."""
        facts = row.estimate
        held = f", {facts['confidence_percent']} %" if facts["confidence_percent"] else ""
        space = "\N{NO-BREAK SPACE}"
        return f"{ms(facts['low_ms'])}{space}to{space}{ms(facts['high_ms'])}{held}"

    @admin.display
    def basis(self, row: Forecast) -> str:
        """Return what it rests on."""
        return "; ".join(row.estimate["basis"])

    @admin.display(description=_("dry run"))
    def dry_run_link(self, row: Forecast) -> str:
        """Return a link to the dry run."""
        return link(row.dry_run, row.dry_run.headline)

    def get_urls(self) -> list[URLPattern]:
        """Add the chart."""
        view = self.admin_site.admin_view(self.accuracy_view)
        return [
            path("accuracy/", view, name="confiture_history_forecast_accuracy"),
            *super().get_urls(),
        ]

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """Show the link to the chart to users who may see it."""
        context = {**(extra_context or {}), "may_compare": self._may_compare(request)}
        return super().changelist_view(request, context)

    def accuracy_view(self, request: HttpRequest) -> HttpResponse:
        """Show forecasts and real durations in a chart."""
        from django_confiture.history.pages import accuracy_chart

        if not self._may_compare(request):
            raise PermissionDenied
        context = {
            **self.admin_site.each_context(request),
            "title": _("Forecasts against reality"),
            "opts": self.opts,
            **accuracy_chart.context_of(request.GET.get("database")),
        }
        return TemplateResponse(request, "admin/confiture_history/accuracy.html", context)

    def _may_compare(self, request: HttpRequest) -> bool:
        others = self.admin_site.get_model_admin(MigrationExecution)
        return self.has_view_permission(request) and others.has_view_permission(request)
