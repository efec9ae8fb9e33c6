"""Backfills in the admin: a bar, errors with their keys, the audit trail, and what one may do."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar

from django.contrib import admin, messages
from django.utils.html import format_html
from django.utils.translation import gettext_lazy as _

from django_confiture.backfills import control
from django_confiture.backfills.batching.keys import shown_key
from django_confiture.backfills.models import (
    BackfillEvent,
    BackfillRange,
    BackfillRowError,
    BackfillRun,
)
from django_confiture.backfills.status import BackfillStatus, status_of
from django_confiture.exceptions import BackfillError
from django_confiture.formatting import duration

if TYPE_CHECKING:
    from django.db.models import QuerySet
    from django.http import HttpRequest

    _Inline = admin.TabularInline[Any, Any]
    _ModelAdmin = admin.ModelAdmin[BackfillRun]
else:  # the classes of Django itself take no parameters
    _Inline = admin.TabularInline
    _ModelAdmin = admin.ModelAdmin


class _ReadOnly:
    """Read-only: a worker has written these rows."""

    def has_add_permission(self, request: HttpRequest, obj: object = None) -> bool:  # noqa: ARG002
        """Return False: backfills are declared in code."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: object = None) -> bool:  # noqa: ARG002
        """Return False."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: object = None) -> bool:  # noqa: ARG002
        """Return False: the audit trail stays."""
        return False


class _RowErrors(_ReadOnly, _Inline):
    model = BackfillRowError
    verbose_name_plural = _("rows that can't be done")
    fields = readonly_fields = ("row", "error", "at")

    @admin.display(description=_("key"))
    def row(self, error: BackfillRowError) -> str:
        """Return the row's key."""
        return shown_key(error.key)


class _Ranges(_ReadOnly, _Inline):
    model = BackfillRange
    fields = readonly_fields = (
        *("position", "low", "high", "cursor", "done", "finished", "worker"),
        "throttled_by",
    )


class _Events(_ReadOnly, _Inline):
    model = BackfillEvent
    verbose_name_plural = _("audit trail")
    fields = readonly_fields = ("at", "action", "actor", "detail")


_ACTIONS = {
    "start": _("Start the selected backfills"),
    "pause": _("Pause the selected backfills"),
    "resume": _("Resume the selected backfills"),
    "cancel": _("Cancel the selected backfills"),
    "retry": _("Retry the selected backfills"),
}


def _action(name: str) -> Callable[[Any, HttpRequest, QuerySet[BackfillRun]], None]:
    def act(modeladmin: Any, request: HttpRequest, runs: QuerySet[BackfillRun]) -> None:  # noqa: ARG001
        for run in runs:
            try:
                said = control.perform(
                    name, run.name, using=runs.db, actor=f"admin:{request.user.get_username()}"
                )
            except BackfillError as error:
                messages.error(request, str(error))
            else:
                messages.success(request, said)

    act.__name__ = name
    return admin.action(permissions=["operate"], description=_ACTIONS[name])(act)


@admin.register(BackfillRun)
class BackfillRunAdmin(_ReadOnly, _ModelAdmin):
    """How far backfills are; actions for those who have the permission to operate them."""

    list_display = ("name", "state", "bar", "rows", "rate", "remaining", "workers", "waits")
    list_filter = ("state",)
    actions = tuple(_action(name) for name in control.ACTIONS)
    search_fields = ("name",)
    fields = (
        *("name", "state", "bar", "rows", "rate", "remaining", "workers", "waits"),
        *("last_error", "queued_at", "started_at", "finished_at"),
    )
    readonly_fields = ("bar", "rows", "rate", "remaining", "workers", "waits")
    inlines: ClassVar[tuple[type[_Inline], ...]] = (_RowErrors, _Events, _Ranges)

    def has_operate_permission(self, request: HttpRequest) -> bool:
        """Return whether the user may start, pause, resume, cancel and retry."""
        return bool(request.user.has_perm("confiture_backfills.operate_backfillrun"))

    @admin.display(description=_("progress"))
    def bar(self, run: BackfillRun) -> str:
        """Return a bar, without any style of its own: it obeys a strict CSP."""
        percent = _status(run).percent
        if percent is None:
            return "-"
        label = f"{percent:g} %"
        return format_html(
            '<progress max="100" value="{}" aria-label="{}"></progress> {}', percent, label, label
        )

    @admin.display
    def rows(self, run: BackfillRun) -> str:
        """Return how many rows are done, and of how many."""
        status = _status(run)
        if status.total is None:
            return f"{status.done:,}"
        words = _("%s of %s") if status.state == "completed" else _("%s of about %s")
        return words % (f"{status.done:,}", f"{status.total:,}")

    @admin.display(description=_("rows/s"))
    def rate(self, run: BackfillRun) -> str:
        """Return the rate of all workers together."""
        rate = _status(run).rows_per_second
        return "-" if rate is None else f"{rate:,.0f}"

    @admin.display
    def remaining(self, run: BackfillRun) -> str:
        """Return how long the rest will take."""
        seconds = _status(run).remaining_seconds
        return "-" if not seconds else duration(seconds * 1000)

    @admin.display
    def workers(self, run: BackfillRun) -> int:
        """Return the number of workers."""
        return _status(run).workers

    @admin.display(description=_("waits for"))
    def waits(self, run: BackfillRun) -> str:
        """Return which throttles hold it."""
        return ", ".join(_status(run).throttled_by) or "-"


def _status(run: BackfillRun) -> BackfillStatus:
    """Return how far a backfill is, asked once for each row of a page."""
    known = vars(run).get("_confiture_status")
    if known is None:
        known = vars(run)["_confiture_status"] = status_of(run, run._state.db or "default")
    return known
