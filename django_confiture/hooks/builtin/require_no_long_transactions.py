"""``require_no_long_transactions``: no migration behind a transaction that won't end soon."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from time import monotonic, sleep
from typing import TYPE_CHECKING, Any, ClassVar

from django_confiture.exceptions import HookVeto
from django_confiture.formatting import count, duration
from django_confiture.hooks.base import HookContext, HookPhase, HookResult
from django_confiture.hooks.builtin import options
from django_confiture.hooks.builtin.base import ShippedHook
from django_confiture.hooks.builtin.options import Option
from django_confiture.hooks.builtin.tables import rows

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import timedelta

    import psycopg

logger = logging.getLogger("django_confiture.hooks")

_LOOKS_EVERY = 0.5
"""Seconds between two looks while it waits."""

_SHOWN = 5

_OPEN = """
SELECT pid, who, application, state, ms FROM (
  SELECT pid, usename::text AS who, coalesce(application_name, '') AS application,
    coalesce(state, '') AS state, extract(epoch FROM clock_timestamp() - xact_start)::float8 * 1000
    AS ms
  FROM pg_catalog.pg_stat_activity
  WHERE datname = current_database() AND usesysid IS NOT NULL AND leader_pid IS NULL
    AND pid <> pg_catalog.pg_backend_pid()
  UNION ALL
  SELECT NULL, owner::text, gid, 'prepared',
    extract(epoch FROM clock_timestamp() - prepared)::float8 * 1000
  FROM pg_catalog.pg_prepared_xacts WHERE database = current_database()
) AS open
WHERE ms >= %s AND application <> ALL (%s) ORDER BY ms DESC
"""

# Of a session that a role may not look into, all is NULL but who it is.
_HIDDEN = """
SELECT count(*) FROM pg_catalog.pg_stat_activity
WHERE datname = current_database() AND usesysid IS NOT NULL AND backend_type IS NULL
"""


@dataclass(frozen=True)
class OpenTransaction:
    """A transaction of another session, or a prepared one, which has no process."""

    pid: int | None
    user: str
    application: str
    """The application's name; of a prepared transaction, its identifier."""
    state: str
    open_ms: float

    def __str__(self) -> str:
        who = f"PID {self.pid}" if self.pid is not None else f"prepared {self.application!r}"
        about = [f"user {self.user}"]
        if self.pid is not None:
            about += [self.application or "no application_name", self.state]
        return f"{who} ({', '.join(filter(None, about))}, for {duration(self.open_ms)})"


class RequireNoLongTransactions(ShippedHook):
    """Refuses a migration while another transaction has been open for long.

    A migration that waits for a table makes all others wait behind it, and behind a report that
    runs for an hour it waits for an hour. The veto names each session: process, user, application,
    state, and for how long its transaction has been open. Prepared transactions count.

    Options, none of which is needed:

    ``longer_than``
        A duration: transactions that have been open for that long count.
    ``action``
        ``"veto"`` refuses at once, ``"wait"`` looks again until they are gone, ``"report"`` only
        logs ``long_transactions``.
    ``wait_up_to``
        A duration: how long ``"wait"`` waits before it vetoes.
    ``ignore``
        A list of ``application_name`` values that don't count.

    A role without ``pg_read_all_stats`` can't see how long sessions of other roles have been at
    work; a WARNING ``sessions_hidden`` says how many these are. In a dry run it only reports.
    Backwards it does the same as forwards.
    """

    registered_name = "require_no_long_transactions"
    phase = HookPhase.BEFORE_VALIDATION
    directions: ClassVar[tuple[str, ...]] = ("forward", "backward")

    longer_than = Option(options.duration, default="5min")
    action = Option(options.one_of("veto", "wait", "report"), default="veto")
    wait_up_to = Option(options.duration, default="1min")
    ignore = Option(options.texts, default=())

    def run(self, conn: psycopg.Connection[Any], context: HookContext) -> HookResult:
        """Look, and do as ``action`` says."""
        facts = {"migration": context.migration_name, "app_label": context.app_label}
        ((hidden,),) = rows(conn, _HIDDEN)
        if hidden:
            logger.warning("sessions_hidden", extra={"sessions": hidden, **facts})
        action = "report" if context.dry_run else self.action
        started, longest = monotonic(), self.wait_up_to.total_seconds()
        found = self._look(conn)
        while found and action == "wait" and (waited := monotonic() - started) < longest:
            context.progress(round(waited), round(longest))
            sleep(_LOOKS_EVERY)
            found = self._look(conn)
        if found and action != "report":
            raise HookVeto(self._veto(found, self.wait_up_to if action == "wait" else None))
        if found:
            sessions = [str(each) for each in found]
            logger.warning("long_transactions", extra={"sessions": sessions, **facts})
        waited_ms = round((monotonic() - started) * 1000)
        return self.result(found=[str(each) for each in found], waited_ms=waited_ms, hidden=hidden)

    def _look(self, conn: psycopg.Connection[Any]) -> list[OpenTransaction]:
        # PostgreSQL keeps its first list of sessions for the whole transaction.
        conn.execute("SELECT pg_catalog.pg_stat_clear_snapshot()")
        least_ms = self.longer_than.total_seconds() * 1000
        return [OpenTransaction(*row) for row in rows(conn, _OPEN, [least_ms, list(self.ignore)])]

    def _veto(self, found: Sequence[OpenTransaction], waited: timedelta | None) -> str:
        limit = duration(self.longer_than.total_seconds() * 1000)
        shown = [str(each) for each in found[:_SHOWN]]
        if len(found) > _SHOWN:
            shown.append(f"and {len(found) - _SHOWN} more")
        still = f"After {duration(waited.total_seconds() * 1000)}, " if waited is not None else ""
        verb = "has" if len(found) == 1 else "have"
        return (
            f"{still}{count(len(found), 'transaction')} {verb} been open for {limit} or longer: "
            f"{', '.join(shown)}. Let them end, or end them with pg_terminate_backend(PID), and "
            "migrate again."
        )
