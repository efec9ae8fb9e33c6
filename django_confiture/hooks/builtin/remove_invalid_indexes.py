"""``remove_invalid_indexes``: what a ``CONCURRENTLY`` that was cut off has left behind.

``DROP INDEX CONCURRENTLY`` can't run in the migration's transaction, and a plain ``DROP INDEX``
there would hold an exclusive lock on the table until the migration ends. So the indexes are dropped
on their own connection, before the migration has touched a table, each with a lock timeout.
That stays done if the migration then fails: nothing uses an invalid index, yet every write pays
for it.
"""

from __future__ import annotations

import logging
from contextlib import closing
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any, ClassVar

from psycopg import sql

from django_confiture import conf
from django_confiture.exceptions import HookVeto
from django_confiture.hooks.base import HookContext, HookPhase, HookResult
from django_confiture.hooks.builtin import options
from django_confiture.hooks.builtin.base import ShippedHook
from django_confiture.hooks.builtin.options import Option
from django_confiture.hooks.builtin.tables import rows

if TYPE_CHECKING:
    import psycopg

logger = logging.getLogger("django_confiture.hooks")

# An index of a partitioned table is invalid until all partitions have theirs; one that is attached
# can't be dropped alone, and one of a constraint neither. Who builds or reindexes CONCURRENTLY
# holds ShareUpdateExclusiveLock on the table until the end.
_INVALID = """
SELECT CASE WHEN pg_catalog.pg_table_is_visible(c.oid) THEN c.relname
            ELSE concat(n.nspname, '.', c.relname) END,
  n.nspname, x.relname,
  EXISTS (SELECT FROM pg_catalog.pg_locks l WHERE l.locktype = 'relation'
    AND l.relation = c.oid AND l.mode = 'ShareUpdateExclusiveLock'
    AND l.database = (SELECT oid FROM pg_catalog.pg_database WHERE datname = current_database())),
  EXISTS (SELECT FROM pg_catalog.pg_locks l WHERE l.locktype = 'relation'
    AND l.relation = c.oid AND l.pid = pg_catalog.pg_backend_pid())
FROM pg_catalog.pg_index i
JOIN pg_catalog.pg_class x ON x.oid = i.indexrelid AND x.relkind = 'i'
JOIN pg_catalog.pg_class c ON c.oid = i.indrelid AND c.relpersistence <> 't'
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace AND n.nspname !~ '^pg_(toast|temp)'
WHERE NOT i.indisvalid
  AND NOT EXISTS (SELECT FROM pg_catalog.pg_inherits h WHERE h.inhrelid = x.oid)
  AND NOT EXISTS (SELECT FROM pg_catalog.pg_constraint k WHERE k.conindid = x.oid)
ORDER BY 1, 3
"""


@dataclass(frozen=True)
class _InvalidIndex:
    """An index that is not valid."""

    table: str
    schema: str
    name: str
    being_built: bool
    """Whether another session may be building it at this moment."""
    locked_by_us: bool
    """Whether this migration holds a lock on the table, for which the drop would wait."""


class RemoveInvalidIndexes(ShippedHook):
    """Drops indexes that a ``CONCURRENTLY`` which was cut off has left invalid.

    Each is dropped ``CONCURRENTLY`` on its own connection, so that no table is blocked and it
    stays done whatever becomes of the migration. Left alone are indexes that
    another session may be building, and those of constraints and of partitioned tables.

    Options, none of which is needed:

    ``tables``
        A list of patterns for the tables whose indexes are dropped.
    ``lock_timeout``
        A duration: how long a drop may wait for transactions that use the table.

    In a dry run it only says which ones it would drop. A failure lets the migration go on.
    Backwards it does the same as forwards.
    """

    registered_name = "remove_invalid_indexes"
    phase = HookPhase.BEFORE_DDL
    directions: ClassVar[tuple[str, ...]] = ("forward", "backward")
    on_failure = "continue"

    tables = Option(options.texts, default=("*",))
    lock_timeout = Option(options.duration, default="5s")

    def run(self, conn: psycopg.Connection[Any], context: HookContext) -> HookResult:
        """Find and drop them; name those that are left alone."""
        found = [
            index
            for index in (_InvalidIndex(*row) for row in rows(conn, _INVALID))
            if any(fnmatchcase(index.table, pattern) for pattern in self.tables)
        ]
        left = [index.name for index in found if index.being_built]
        invalid = [index for index in found if not index.being_built]
        if context.dry_run or not invalid:
            return self.result(would_drop=[index.name for index in invalid], left=left)
        if locked := [index for index in invalid if index.locked_by_us]:
            raise HookVeto(
                f"The migration holds a lock on {locked[0].table} already, for which the drop of "
                f"{locked[0].name} would wait; let remove_invalid_indexes run in BEFORE_DDL."
            )
        self._drop(invalid, context)
        return self.result(dropped=[index.name for index in invalid], left=left)

    def _drop(self, invalid: list[_InvalidIndex], context: HookContext) -> None:
        assert context.connection is not None, "It drops on another connection of Django's."
        with closing(context.connection.copy()) as wrapper:
            wrapper.connect()
            own: psycopg.Connection[Any] = wrapper.connection
            own.execute(
                "SELECT pg_catalog.set_config('lock_timeout', %s, false)",
                [conf.milliseconds(self.lock_timeout)],
            )
            for done, index in enumerate(invalid):
                context.progress(done, len(invalid))
                name = sql.Identifier(index.schema, index.name)
                own.execute(sql.SQL("DROP INDEX CONCURRENTLY IF EXISTS {}").format(name))
                facts = {"index": index.name, "table": index.table}
                migration = {"migration": context.migration_name, "app_label": context.app_label}
                logger.warning("invalid_index_dropped", extra={**facts, **migration})
