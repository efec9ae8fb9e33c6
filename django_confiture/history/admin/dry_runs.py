"""Dry runs in the admin: a list, and each report in all formats."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.db import router
from django.http import Http404, HttpResponse
from django.urls import path
from django.utils.translation import gettext_lazy as _

from django_confiture.history import hash_chain
from django_confiture.history.admin.read_only import LedgerAdmin, moment
from django_confiture.history.models import DryRun

if TYPE_CHECKING:
    from django.http import HttpRequest
    from django.urls import URLPattern


@admin.register(DryRun)
class DryRunAdmin(LedgerAdmin):
    """Dry runs with their reports."""

    ledger = hash_chain.DRY_RUNS
    list_display = (
        "number",
        "headline",
        "database",
        "took",
        "made",
        "os_user",
    )
    list_display_links = ("number", "headline")
    list_filter = ("verdict", "mode", "database")
    search_fields = ("headline", "migrations", "os_user", "host")
    search_help_text = _("A migration, a user, a host, or words of the headline.")
    date_hierarchy = "made_at"
    fields = ("made", "who", "where", "mode", "took")

    @admin.display(description=_("made at"), ordering="made_at")
    def made(self, row: DryRun) -> str:
        """Return when it ended."""
        return moment(row.made_at)

    @admin.display
    def who(self, row: DryRun) -> str:
        """Return who started it, and on which host."""
        return f"{row.os_user}@{row.host}"

    @admin.display(description=_("database"))
    def where(self, row: DryRun) -> str:
        """Return the alias, the database and its server."""
        return f"{row.database}: {row.database_name}, PostgreSQL {row.server_version}"

    def get_queryset(self, request: HttpRequest) -> Any:
        """Don't read the reports for a list."""
        found = super().get_queryset(request)
        match = request.resolver_match
        return found.defer("report") if match and not match.kwargs else found

    def get_urls(self) -> list[URLPattern]:
        """Add the report in each of its forms."""
        view = self.admin_site.admin_view(self.report_view)
        name = "confiture_history_dryrun_report"
        return [path("<int:number>/report.<str:suffix>", view, name=name), *super().get_urls()]

    def render_change_form(
        self, request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any
    ) -> HttpResponse:
        """Add what the report says."""
        from django_confiture.history.pages import dry_run_report  # imports the reports

        context["shown"] = dry_run_report.context_of(context["original"])
        return super().render_change_form(request, context, *args, **kwargs)

    def report_view(self, request: HttpRequest, number: int, suffix: str) -> HttpResponse:
        """Return the stored report, or render it in another format."""
        from django_confiture.history.pages import dry_run_report

        row = DryRun.objects.using(router.db_for_read(DryRun)).filter(number=number).first()
        if not self.has_view_permission(request, row):
            raise PermissionDenied
        found = dry_run_report.rendered(row, suffix) if row is not None else None
        if found is None:
            raise Http404(f"there is no report {number}.{suffix}")
        content, content_type = found
        name = f"dry-run-{number}.{suffix}"
        return HttpResponse(
            content,
            content_type=f"{content_type}; charset=utf-8",
            headers={
                "Content-Disposition": f'inline; filename="{name}"',
                "X-Content-Type-Options": "nosniff",
            },
        )
