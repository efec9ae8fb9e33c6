"""The admin of the ledger, read-only, for users with the permission to view it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.db import router
from django.http import Http404, HttpResponse
from django.template.response import TemplateResponse
from django.urls import path
from django.utils.html import format_html_join
from django.utils.safestring import mark_safe
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from django_confiture.history import hash_chain
from django_confiture.history.admin.inlines import HookInline, StatementInline
from django_confiture.history.admin.read_only import (
    LedgerAdmin,
    blocker,
    link,
    moment,
    ms,
    shown_migration,
)
from django_confiture.history.models import (
    DryRun,
    Forecast,
    HookExecution,
    MigrationExecution,
)

if TYPE_CHECKING:
    from django.http import HttpRequest
    from django.urls import URLPattern


_OF_AN_EXECUTION = (
    *("migration", "database", "outcome", "error_type"),
    *("began", "took", "attempts", "waited_for", "who"),
)


@admin.register(MigrationExecution)
class MigrationExecutionAdmin(LedgerAdmin):
    """Real migrations."""

    ledger = hash_chain.EXECUTIONS
    list_display = ("began", "migration", "outcome", "took", "attempts", "database", "who")
    list_display_links = ("began", "migration")
    list_filter = ("outcome", "direction", "database", "app_label")
    search_fields = ("app_label", "name", "os_user", "host")
    date_hierarchy = "started_at"
    fieldsets = (
        (None, {"fields": _OF_AN_EXECUTION}),
        (_("Place in the chain of hashes"), {"fields": ("number", "previous_hash", "hash")}),
    )
    inlines = (StatementInline, HookInline)

    @admin.display(description=_("migration"), ordering="name")
    def migration(self, row: MigrationExecution) -> str:
        """Return the migration, and whether it was unapplied."""
        return shown_migration(row)

    @admin.display(description=_("who"), ordering="os_user")
    def who(self, row: MigrationExecution) -> str:
        """Return who ran it, and on which host."""
        return f"{row.os_user}@{row.host}"

    @admin.display(description=_("waited for"))
    def waited_for(self, row: MigrationExecution) -> str:
        """Return the sessions that it waited for, each on a separate line."""
        if not row.blockers:
            return gettext("no one")
        return format_html_join(mark_safe("<br>"), "{}", ((blocker(b),) for b in row.blockers))


@admin.register(HookExecution)
class HookExecutionAdmin(LedgerAdmin):
    """The audit trail of hooks."""

    ledger = hash_chain.EXECUTIONS
    list_display = (
        "began",
        "hook",
        "phase",
        "migration",
        "outcome",
        "took",
        "rows",
        "database",
        "who",
    )
    list_filter = ("outcome", "phase", "execution__database", "execution__app_label", "hook")
    list_select_related = ("execution",)
    search_fields = (
        "hook",
        "execution__app_label",
        "execution__name",
        "execution__os_user",
        "execution__host",
    )
    search_help_text = _("A hook, a migration, a user or a host.")
    date_hierarchy = "started_at"
    ordering = ("-started_at", "-pk")
    fields = (
        "began",
        "who",
        "hook",
        "phase",
        "execution_link",
        "database",
        "took",
        "rows",
        "outcome",
        "error_type",
    )

    @admin.display(ordering="execution__os_user")
    def who(self, row: HookExecution) -> str:
        """Return who ran the migration, and on which host."""
        return f"{row.execution.os_user}@{row.execution.host}"

    @admin.display(ordering="execution__name")
    def migration(self, row: HookExecution) -> str:
        """Return the migration that the hook belongs to."""
        return f"{row.execution.app_label}.{row.execution.name}"

    @admin.display(ordering="execution__database")
    def database(self, row: HookExecution) -> str:
        """Return the alias that was migrated."""
        return row.execution.database

    @admin.display(description=_("migration"))
    def execution_link(self, row: HookExecution) -> str:
        """Return a link to the migration."""
        return link(row.execution, str(row.execution))


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
