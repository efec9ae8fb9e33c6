"""What the plan will touch, in a few lines before the first migration runs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from textwrap import wrap
from typing import TYPE_CHECKING

from django_confiture.formatting import count, duration, listed, size

if TYPE_CHECKING:
    from django_confiture.dry_run.results import OtherSession, PlannedTable, Preflight

_WIDTH = 80
_MOST = 10
_LABEL = 11
_WORTH_SAYING_BYTES = 1024**2
_WORTH_SAYING_MS = 1000


def lines(preflight: Preflight) -> Iterator[str]:
    """Yield lines of at most 80 columns."""
    tables = list(_tables(preflight.tables))
    maybe = unknown(preflight)
    if not tables and not maybe:
        tables = ["no table that exists"]
    yield "Before the first migration:"
    yield from _labeled("touches", [*tables, *maybe])
    yield from _labeled("at work", others(preflight))
    if sum(each.size_bytes for each in preflight.dead_space) >= _WORTH_SAYING_BYTES:
        yield from _labeled("leaves", dead_space(preflight))
    yield from _labeled("limits", limits(preflight))


def _labeled(label: str, texts: Sequence[str]) -> Iterator[str]:
    for text in texts:
        for line in wrap(text, _WIDTH - _LABEL - 1, break_on_hyphens=False):
            yield f"  {label:<{_LABEL - 2}} {_visible(line)}"
            label = ""


def _tables(tables: Sequence[PlannedTable]) -> Iterator[str]:
    shown = tables[:_MOST]
    names = max((len(each.relation) for each in shown), default=0)
    rows = ["? rows" if each.rows is None else count(each.rows, "row") for each in shown]
    sizes = [size(each.size_bytes) for each in shown]
    wide = max(map(len, rows), default=0), max(map(len, sizes), default=0)
    for each, row, bytes_ in zip(shown, rows, sizes, strict=True):
        busy = f"  {count(each.sessions, 'session')}" if each.sessions else ""
        yield f"{each.relation:<{names}}  {row:>{wide[0]}}  {bytes_:>{wide[1]}}{busy}"
    if len(tables) > _MOST:
        yield f"and {len(tables) - _MOST:,} more"


def unknown(preflight: Preflight) -> list[str]:
    """Return which operations may touch tables that we can't name."""
    if not preflight.not_known:
        return []
    which = "others" if preflight.tables else "tables"
    return [f"{listed(preflight.not_known)} may touch {which}"]


def others(preflight: Preflight) -> list[str]:
    """Return which other sessions use these tables."""
    found = []
    if preflight.sessions:
        which = "other session" if preflight.sessions == 1 else "other sessions"
        longest = f", the longest {_session(preflight.longest)}" if preflight.longest else ""
        found.append(f"{preflight.sessions:,} {which} on these tables{longest}")
    else:
        found.append("no other session on these tables")
    oldest = preflight.oldest_transaction
    if oldest is not None and (oldest.transaction_ms or 0) >= _WORTH_SAYING_MS:
        found.append(f"oldest transaction {_session(oldest)}")
    if preflight.hidden_sessions:
        which = count(preflight.hidden_sessions, "session")
        found.append(f"{which} of other roles, whose transactions this role can't see")
    return found


def _session(other: OtherSession) -> str:
    age = "" if other.transaction_ms is None else f"{duration(other.transaction_ms)}, "
    if other.pid is None:
        return f"{age}a prepared transaction"
    who = ", ".join(filter(None, [f"pid {other.pid}", other.application, other.state]))
    return f"{age}{who}"


def dead_space(preflight: Preflight) -> list[str]:
    """Return the dead space that is left in the tables."""
    found = preflight.dead_space
    total = sum(each.size_bytes for each in found)
    where = listed([each.relation for each in found[:3]])
    more = f" and {len(found) - 3:,} more" if len(found) > 3 else ""
    return [f"up to {size(total)} of dead space in {where}{more}, until VACUUM"]


def limits(preflight: Preflight) -> list[str]:
    """Return when the dry run waits, gives way and stops."""
    lock = preflight.lock_timeout_ms
    waits = f"waits {'forever' if lock is None else duration(lock)} for a lock"
    after = preflight.yield_after_ms
    if after is None:
        yields = "no watchdog: others wait until it ends"
    else:
        yields = f"ends once others have waited {duration(after)} for it (watchdog)"
    dead = preflight.max_dead_bytes
    space = "" if dead is None else f"; stops at {size(dead)} of dead space"
    return [f"{waits}; {yields}{space}"]


def _visible(text: str) -> str:
    """Return text with nothing in it that a terminal obeys."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
