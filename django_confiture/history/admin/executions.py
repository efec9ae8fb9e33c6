"""Real migrations and their hooks, in the admin."""

from __future__ import annotations

from django.contrib import admin
from django.utils.html import format_html_join
from django.utils.safestring import mark_safe
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from django_confiture.history import hash_chain
from django_confiture.history.admin.inlines import HookInline, StatementInline
from django_confiture.history.admin.read_only import LedgerAdmin, blocker, link, shown_migration
from django_confiture.history.models import HookExecution, MigrationExecution

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
