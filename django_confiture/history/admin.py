"""Look, but change nothing: who has the permission to view sees the ledger."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db import router
from django.http import Http404, HttpResponse
from django.template.response import TemplateResponse
from django.urls import path, reverse
from django.utils.formats import date_format
from django.utils.html import format_html
from django.utils.timezone import template_localtime

from django_confiture.history import chain
from django_confiture.history.models import (
    DryRun,
    Forecast,
    HookExecution,
    MigrationExecution,
    StatementExecution,
)

if TYPE_CHECKING:
    from datetime import datetime

    from django.http import HttpRequest
    from django.urls import URLPattern

    _Inline = admin.TabularInline[Any, Any]
    _Admin = admin.ModelAdmin[Any]
else:  # the classes of Django itself take no parameters
    _Inline = admin.TabularInline
    _Admin = admin.ModelAdmin

MOST_PROBLEMS = 5
"""So many of them are shown above a list."""


class _ReadOnly:
    """For nobody, superusers included; nor may an action of the whole site change anything."""

    actions: Any = None

    def has_add_permission(self, *_args: object) -> bool:
        return False

    def has_change_permission(self, *_args: object) -> bool:
        return False

    def has_delete_permission(self, *_args: object) -> bool:
        return False


class _LedgerAdmin(_ReadOnly, _Admin):
    """Rows of a ledger, with what is wrong with it above the list."""

    ledger: chain.Ledger

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """Show the list, and say where the chain of hashes is broken."""
        if self.has_view_permission(request):
            using = router.db_for_read(self.ledger.model)
            problems = chain.verify(using, self.ledger, reports=False)
            for problem in problems[:MOST_PROBLEMS]:
                _say(request, problem.message)
            if len(problems) > MOST_PROBLEMS:
                messages.error(
                    request,
                    f"{len(problems)} problems in all; see manage.py confiture_history_verify.",
                )
        return super().changelist_view(request, extra_context)

    def get_object(
        self, request: HttpRequest, object_id: str, from_field: str | None = None
    ) -> Any:
        """Return a row; say so where it, or what belongs to it, is not as it was written."""
        found = super().get_object(request, object_id, from_field)
        if isinstance(found, self.ledger.model) and not chain.is_intact(self.ledger, found):
            _say(request, f"{self.ledger.row} {found.number} was changed")
        return found

    @admin.display(description="duration", ordering="duration_ms")
    def took(self, row: Any) -> str:
        """Return milliseconds, as the ledger has them."""
        return _ms(row.duration_ms)

    @admin.display(description="started at", ordering="started_at")
    def began(self, row: Any) -> str:
        """Return when it began, to the second."""
        return _moment(row.started_at)


class _Statements(_ReadOnly, _Inline):
    model = StatementExecution
    fields = ("operation", "sql", "executions", "duration_ms", "rows")


class _Hooks(_ReadOnly, _Inline):
    model = HookExecution
    fields = ("hook", "phase", "outcome", "started_at", "duration_ms", "rows", "error_type")


@admin.register(MigrationExecution)
class MigrationExecutionAdmin(_LedgerAdmin):
    """What ran."""

    ledger = chain.EXECUTIONS
    list_display = (
        "number",
        "app_label",
        "name",
        "direction",
        "database",
        "outcome",
        "took",
        "began",
        "os_user",
    )
    list_filter = ("outcome", "direction", "database", "app_label")
    search_fields = ("app_label", "name", "os_user", "host")
    date_hierarchy = "started_at"
    inlines = (_Statements, _Hooks)

    class Media:
        css: ClassVar[dict[str, tuple[str, ...]]] = {"all": ("confiture_history/admin.css",)}


@admin.register(HookExecution)
class HookExecutionAdmin(_LedgerAdmin):
    """The audit trail of hooks."""

    ledger = chain.EXECUTIONS
    list_display = (
        "began",
        "who",
        "hook",
        "phase",
        "migration",
        "database",
        "took",
        "rows",
        "outcome",
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
    search_help_text = "A hook, a migration, a user or a host."
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

    @admin.display(description="migration")
    def execution_link(self, row: HookExecution) -> str:
        """Lead to the migration."""
        return _link(row.execution, str(row.execution))


@admin.register(DryRun)
class DryRunAdmin(_LedgerAdmin):
    """Dry runs with their reports."""

    ledger = chain.DRY_RUNS
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
    search_help_text = "A migration, a user, a host, or words of the headline."
    date_hierarchy = "made_at"
    fields = (
        "made",
        ("os_user", "host"),
        ("database", "database_name", "server_version"),
        ("mode", "verdict"),
        "took",
    )

    @admin.display(description="made at", ordering="made_at")
    def made(self, row: DryRun) -> str:
        """Return when it ended."""
        return _moment(row.made_at)

    def get_queryset(self, request: HttpRequest) -> Any:
        """Leave the reports where they are, as long as a list is shown."""
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
        """Show what the report says."""
        from django_confiture.history.pages import dry_run  # which needs the reports

        context["shown"] = dry_run.context_of(context["original"])
        return super().render_change_form(request, context, *args, **kwargs)

    def report_view(self, request: HttpRequest, number: int, suffix: str) -> HttpResponse:
        """Return the report as it was kept, or rendered anew from that."""
        from django_confiture.history.pages import dry_run

        row = DryRun.objects.using(router.db_for_read(DryRun)).filter(number=number).first()
        if not self.has_view_permission(request, row):
            raise PermissionDenied
        found = dry_run.rendered(row, suffix) if row is not None else None
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
class ForecastAdmin(_LedgerAdmin):
    """What dry runs forecast, and what came of it."""

    ledger = chain.DRY_RUNS
    list_display = ("made", "app_label", "name", "direction", "database", "expected", "between")
    list_filter = ("database", "direction", "app_label")
    search_fields = ("app_label", "name")
    date_hierarchy = "made_at"
    fields = (
        "made",
        ("app_label", "name", "direction"),
        "database",
        "expected",
        "between",
        "basis",
        "dry_run_link",
    )

    @admin.display(description="made at", ordering="made_at")
    def made(self, row: Forecast) -> str:
        """Return when the dry run ended."""
        return _moment(row.made_at)

    @admin.display(description="expected", ordering="estimate__expected_ms")
    def expected(self, row: Forecast) -> str:
        """Return how long it was expected to take."""
        return _ms(row.estimate["expected_ms"])

    @admin.display(description="range")
    def between(self, row: Forecast) -> str:
        """Return the range, and how often such a range was said to hold."""
        facts = row.estimate
        held = f", {facts['confidence_percent']} %" if facts["confidence_percent"] else ""
        return f"{_ms(facts['low_ms'])} to {_ms(facts['high_ms'])}{held}"

    @admin.display
    def basis(self, row: Forecast) -> str:
        """Return what it rests on."""
        return "; ".join(row.estimate["basis"])

    @admin.display(description="dry run")
    def dry_run_link(self, row: Forecast) -> str:
        """Lead to the dry run."""
        return _link(row.dry_run, row.dry_run.headline)

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
        """Lead to the chart who may see it."""
        context = {**(extra_context or {}), "may_compare": self._may_compare(request)}
        return super().changelist_view(request, context)

    def accuracy_view(self, request: HttpRequest) -> HttpResponse:
        """Draw forecasts against what came of them."""
        from django_confiture.history.pages import accuracy

        if not self._may_compare(request):
            raise PermissionDenied
        context = {
            **self.admin_site.each_context(request),
            "title": "Forecasts against reality",
            "opts": self.opts,
            **accuracy.context_of(request.GET.get("database")),
        }
        return TemplateResponse(request, "admin/confiture_history/accuracy.html", context)

    def _may_compare(self, request: HttpRequest) -> bool:
        others = self.admin_site.get_model_admin(MigrationExecution)
        return self.has_view_permission(request) and others.has_view_permission(request)


def _say(request: HttpRequest, problem: str) -> None:
    messages.error(request, f"The ledger is not as it was written: {problem}.")


def _moment(value: datetime) -> str:
    return date_format(template_localtime(value), "Y-m-d H:i:s")


def _ms(duration: float) -> str:
    return f"{duration:,.0f} ms" if duration >= 10 else f"{duration:.1f} ms"


def _link(row: MigrationExecution | DryRun, text: str) -> str:
    url = reverse(f"admin:confiture_history_{row._meta.model_name}_change", args=[row.pk])
    return format_html('<a href="{}">{}</a>', url, text)
