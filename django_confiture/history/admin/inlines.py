"""What the admin shows of a migration below its own fields."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.contrib import admin
from django.utils.translation import gettext_lazy as _

from django_confiture.history.admin.read_only import ReadOnly, moment, ms
from django_confiture.history.models import HookExecution, StatementExecution

if TYPE_CHECKING:
    _Inline = admin.TabularInline[Any, Any]
else:  # Django's class takes no parameters at run time
    _Inline = admin.TabularInline


class _LedgerInline(ReadOnly, _Inline):
    """Rows of the ledger that belong to a migration."""

    @admin.display(description=_("duration"))
    def took(self, row: Any) -> str:
        """Return the duration in milliseconds."""
        return ms(row.duration_ms)

    @admin.display(description=_("started at"))
    def began(self, row: Any) -> str:
        """Return when it began, to the second."""
        return moment(row.started_at)


class StatementInline(_LedgerInline):
    """The statements of a migration."""

    model = StatementExecution
    fields = ("operation", "sql", "executions", "took", "rows")
    readonly_fields = ("took",)


class HookInline(_LedgerInline):
    """The hooks of a migration."""

    model = HookExecution
    fields = ("hook", "phase", "outcome", "began", "took", "rows", "error_type")
    readonly_fields = ("began", "took")
