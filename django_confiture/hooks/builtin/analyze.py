"""``analyze``: fresh statistics for the planner before the first query after a migration."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from django_confiture.exceptions import HookVeto
from django_confiture.hooks.base import HookContext, HookPhase, HookResult
from django_confiture.hooks.builtin import options
from django_confiture.hooks.builtin.base import ShippedHook
from django_confiture.hooks.builtin.options import Option
from django_confiture.hooks.builtin.tables import identifier, require_table, rows
from django_confiture.migrate.analyze import analyze_table

if TYPE_CHECKING:
    import psycopg

# What this transaction wrote to. A partitioned table's own statistics need its partitions' rows.
_WRITTEN = """
SELECT quote_ident(s.schemaname) || '.' || quote_ident(s.relname),
  s.n_tup_ins + s.n_tup_upd + s.n_tup_del
FROM pg_catalog.pg_stat_xact_user_tables s JOIN pg_catalog.pg_class c ON c.oid = s.relid
WHERE s.n_tup_ins + s.n_tup_upd + s.n_tup_del >= %s AND c.relpersistence <> 't'
ORDER BY 1
"""


class Analyze(ShippedHook):
    """Runs ``ANALYZE`` on the tables that the migration wrote to, or on those that are named.

    A column that was filled, or whose type changed, has no or wrong statistics until autovacuum
    comes by, and meanwhile the planner guesses. ``ANALYZE`` reads a sample of bounded size and
    blocks neither reads nor writes.

    Options, none of which is needed:

    ``tables``
        A list of tables; without it, those that this migration's transaction has written to. A
        migration with ``atomic = False`` has several, so it has to name them.
    ``min_rows``
        How many rows the migration has to have inserted, updated or deleted in a table that was
        not named.

    It is skipped in a dry run, as no rollback undoes what ``ANALYZE`` notes of a table's size. A
    failure lets the migration go on. Backwards it does the same as forwards.
    """

    registered_name = "analyze"
    phase = HookPhase.CLEANUP
    directions: ClassVar[tuple[str, ...]] = ("forward", "backward")
    on_failure = "continue"
    runs_in_dry_run = False

    tables = Option(options.texts, default=())
    min_rows = Option(options.whole_number, default=1)

    def run(self, conn: psycopg.Connection[Any], context: HookContext) -> HookResult:
        """Analyze one table after the other; nothing after a failed migration.

        The server only warns of a table that the role may not analyze: that is a failure here.
        """
        if context.error is not None:
            return self.result(analyzed=[])
        for table in self.tables:
            require_table(conn, table)
        written = [] if self.tables else rows(conn, _WRITTEN, [max(1, self.min_rows)])
        chosen = list(self.tables) or [name for name, _ in written]
        skipped: list[str] = []
        for done, table in enumerate(chosen):
            context.progress(done, len(chosen))
            skipped += analyze_table(conn, identifier(table))
        if skipped:
            raise HookVeto(
                f"Not analyzed: {'; '.join(skipped)}. "
                "Run ANALYZE as the owner, or let autovacuum do it."
            )
        return self.result(analyzed=chosen)
