"""Base classes of the ledger's admin: they show rows, warn about changes, and write nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from django.contrib import admin, messages
from django.db import router
from django.urls import reverse
from django.utils.formats import date_format
from django.utils.html import format_html
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from django_confiture.formatting import local_time
from django_confiture.history import hash_chain

if TYPE_CHECKING:
    from datetime import datetime

    from django.http import HttpRequest, HttpResponse

    from django_confiture.history.models import DryRun, Forecast, MigrationExecution

    _Admin = admin.ModelAdmin[Any]
else:  # Django's class takes no parameters at run time
    _Admin = admin.ModelAdmin

MOST_PROBLEMS = 5
"""The most problems shown above a list."""


class ReadOnly:
    """Lets no one change anything, neither superusers nor actions of the whole site."""

    actions: Any = None

    def has_add_permission(self, *_args: object) -> bool:
        return False

    def has_change_permission(self, *_args: object) -> bool:
        return False

    def has_delete_permission(self, *_args: object) -> bool:
        return False


class LedgerAdmin(ReadOnly, _Admin):
    """Rows of a ledger, with its problems above the list."""

    ledger: hash_chain.Ledger

    class Media:
        css: ClassVar[dict[str, tuple[str, ...]]] = {"all": ("confiture_history/admin.css",)}

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """Show the list, and where the hash chain is broken."""
        if self.has_view_permission(request):
            using = router.db_for_read(self.ledger.model)
            problems = hash_chain.verify(using, self.ledger, reports=False)
            for problem in problems[:MOST_PROBLEMS]:
                _say(request, problem.message)
            if len(problems) > MOST_PROBLEMS:
                messages.error(
                    request,
                    _("%d problems in all; see manage.py confiture_history_verify.")
                    % len(problems),
                )
        return super().changelist_view(request, extra_context)

    def get_object(
        self, request: HttpRequest, object_id: str, from_field: str | None = None
    ) -> Any:
        """Return a row; warn if it, or a row that belongs to it, was changed."""
        found = super().get_object(request, object_id, from_field)
        if isinstance(found, self.ledger.model) and not hash_chain.is_intact(self.ledger, found):
            _say(request, f"{self.ledger.row} {found.number} was changed")
        return found

    @admin.display(description=_("duration"), ordering="duration_ms")
    def took(self, row: Any) -> str:
        """Return the duration in milliseconds."""
        return ms(row.duration_ms)

    @admin.display(description=_("started at"), ordering="started_at")
    def began(self, row: Any) -> str:
        """Return when it began, to the second."""
        return moment(row.started_at)


def _say(request: HttpRequest, problem: str) -> None:
    messages.error(request, _("The ledger was tampered with: %s.") % problem)


def moment(value: datetime) -> str:
    """Return a moment to the second, in the time zone of the page."""
    return date_format(local_time(value), "Y-m-d H:i:s")


def shown_migration(row: MigrationExecution | Forecast) -> str:
    """Return the label of a row's migration, and whether it was unapplied."""
    backwards = gettext(" (backwards)") if row.direction == "backward" else ""
    return f"{row.app_label}.{row.name}{backwards}"


def ms(duration: float) -> str:
    """Return milliseconds with a unit that doesn't wrap."""
    return (
        f"{duration:,.0f}\N{NO-BREAK SPACE}ms"
        if duration >= 10
        else f"{duration:.1f}\N{NO-BREAK SPACE}ms"
    )


def link(row: MigrationExecution | DryRun, text: str) -> str:
    """Return a link to the page of a row."""
    url = reverse(f"admin:confiture_history_{row._meta.model_name}_change", args=[row.pk])
    return format_html('<a href="{}">{}</a>', url, text)


def blocker(facts: dict[str, Any]) -> str:
    """Return one session that a migration waited for, in words."""
    name = facts["application_name"] or facts["user"]
    since = facts["transaction_ms"]
    return ", ".join(
        part
        for part in (
            f"attempt {facts['attempt']}: {name}",
            f"pid {facts['pid']}",
            facts["state"] or "",
            f"in a transaction for {ms(since)}" if since is not None else "",
            f"waited {ms(facts['waited_ms'])}" if facts["waited_ms"] is not None else "",
            f"for {facts['mode']} on {facts['relation']}" if facts["relation"] else "",
        )
        if part
    )
