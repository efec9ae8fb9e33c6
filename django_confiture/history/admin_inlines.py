"""What the admin shows of a migration below its own fields."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.contrib import admin

from django_confiture.history.models import HookExecution, StatementExecution
from django_confiture.history.read_only_admin import ReadOnly

if TYPE_CHECKING:
    _Inline = admin.TabularInline[Any, Any]
else:  # Django's class takes no parameters at run time
    _Inline = admin.TabularInline


class StatementInline(ReadOnly, _Inline):
    """The statements of a migration."""

    model = StatementExecution
    fields = ("operation", "sql", "executions", "duration_ms", "rows")


class HookInline(ReadOnly, _Inline):
    """The hooks of a migration."""

    model = HookExecution
    fields = ("hook", "phase", "outcome", "started_at", "duration_ms", "rows", "error_type")
