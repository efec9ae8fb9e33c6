"""Hooks that keep the planner's statistics true."""

from django.core.checks import Error
from psycopg import sql

from django_confiture import Hook, HookPhase, HookResult


class AnalyzeTables(Hook):
    """ANALYZE the tables in ``options["tables"]``, so that the first queries are planned well."""

    phase = HookPhase.AFTER_DDL

    def execute(self, conn, context):
        tables = self.options["tables"]
        for table in tables:
            conn.execute(sql.SQL("ANALYZE {}").format(sql.Identifier(table)))
        return HookResult(
            phase=self.phase.name, hook_name="AnalyzeTables", stats={"analyzed": len(tables)}
        )

    def check(self):
        if self.options.get("tables"):
            return []
        return [
            Error(
                "AnalyzeTables has no tables to analyze.",
                hint='Give it OPTIONS, such as {"tables": ["shop_order"]}.',
                id="confiture_example_hooks.E001",
            )
        ]
