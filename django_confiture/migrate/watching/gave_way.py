"""The log event, signal and error message for a migration that gave way to other sessions."""

from __future__ import annotations

import logging
import re
from datetime import timedelta

from django_confiture import signals
from django_confiture.formatting import duration, one_line
from django_confiture.migrate.watching.activity import GaveWay
from django_confiture.migrate.watching.announcements import log_facts, send
from django_confiture.migrate.watching.watch import Target

logger = logging.getLogger("django_confiture.migrate")

COMMITTED = "It was not tried again, as it has ended its transaction by itself."
NOT_ATOMIC = (
    "It is not atomic, so parts of it are committed and it was not tried again; look at what is "
    'there, or set CONFITURE["MIGRATE"]["RESUME"] = True (with django_confiture.history), with '
    "which migrate goes on at the first operation that was not done."
)
RESUMABLE = (
    "It is not atomic, so parts of it are committed and it was not tried again; run migrate, and "
    "it goes on there."
)

_STOPPED = (
    "The process that migrates had stopped, or did not get to look, so the server ended its "
    "session."
)
_WAY_OUT = (
    "Migrate when fewer sessions need the table, raise MAX_BLOCKING, or split the migration: "
    "migrate_dryrun measures what it blocks and says how."
)

_COMMAND = re.compile(r"\s*(\w+(?:\s+(?:TABLE|INDEX|UNIQUE INDEX|MATERIALIZED VIEW)\b)?)", re.I)


def tell(target: Target, ended: GaveWay) -> None:
    """Log and send ``migration_gave_way``."""
    facts = {
        "waited_ms": round(max(each.waited_ms for each in ended.waiters)),
        "attempt": target.attempt,
    }
    logger.warning("migration_gave_way", extra={**log_facts(target.migration), **facts})
    send(signals.migration_gave_way, target, waiters=ended.waiters, **facts)


def described(
    label: str, ended: GaveWay, *, max_blocking: timedelta, attempts: int, why_not_again: str
) -> str:
    """Return why a migration ended, what it would have needed, and what to do."""
    longest = max(ended.waiters, key=lambda each: each.waited_ms)
    where = f" for {longest.relation}" if longest.relation else ""
    limit = duration(max_blocking.total_seconds() * 1000)
    others = len(ended.waiters) - 1
    return " ".join(
        part
        for part in (
            f"{label} gave way: {longest.name} (pid {longest.pid}) had waited "
            f"{duration(longest.waited_ms)}{where}"
            + (f", and {others} other{'s' if others > 1 else ''} as well" if others else "")
            + f'; CONFITURE["MIGRATE"]["MAX_BLOCKING"] is {limit}.',
            f"Tried {attempts} times." if attempts > 1 else "",
            _STOPPED if ended.was_stopped else _needed(ended),
            why_not_again or "All of it was rolled back.",
            _WAY_OUT,
        )
        if part
    )


def _needed(ended: GaveWay) -> str:
    """Return how long it had worked until then, which is the least it needs."""
    doing = ended.doing
    open_ms = doing.transaction_ms or doing.statement_ms or 0.0
    command = _COMMAND.match(doing.statement)
    at = "in Python, between two statements"
    if not doing.state.startswith("idle") and command and doing.statement_ms is not None:
        at = f"{duration(doing.statement_ms)} into {one_line(command[1].upper())}"
    return f"It was {at}, and had worked for {duration(open_ms)}: it needs more than that."
