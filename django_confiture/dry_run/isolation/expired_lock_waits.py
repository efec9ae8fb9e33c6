"""Warnings and errors about waits for locks that ``lock_timeout`` has ended."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from django_confiture.dry_run.measuring.lock_waits import LockWait
from django_confiture.formatting import duration
from django_confiture.migrate.watching.activity import Blocker, Wait


def expired_wait_warnings(wait: LockWait) -> Iterator[str]:
    """Yield who held the lock that the dry run waited for until it gave up."""
    for blocker in wait.blocked_by:
        since = blocker.transaction_ms
        age = "" if since is None else f", its transaction open for {duration(since)}"
        who = blocker.name if not blocker.pid else f"session {blocker.pid} ({_described(blocker)})"
        yield (
            f"Gave up after waiting {duration(wait.ms)} for {_what(wait)}, held by {who}{age}. No "
            "one waited for the dry run; end that transaction, or run the dry run again later."
        )


def expired_wait(wait: LockWait | None) -> str:
    """Return what the dry run waited for until it gave up, as the end of an error message."""
    if wait is None:
        return "the dry run gave up waiting for a lock"
    return f"the dry run gave up after waiting {duration(wait.ms)} for {_what(wait)}"


def _what(wait: LockWait) -> str:
    return f"{wait.mode} on {wait.relation}" if wait.relation else "the end of a transaction"


def _described(blocker: Blocker) -> str:
    """Return what there is to say of a session besides its number."""
    whose = blocker.application_name or blocker.user or "autovacuum"
    return ", ".join(filter(None, [whose, blocker.state]))


@dataclass(frozen=True)
class OwnWait:
    """A wait of what the dry run has opened for what its own connection holds."""

    wait: Wait
    on_foreign_server: bool = False
    """Whether a statement of that connection opened it, by way of a foreign server."""


def self_wait_warning(own: OwnWait) -> str:
    """Return a warning: the rehearsed connection was waited for by what it had opened itself."""
    wait = own.wait
    what = f"{wait.mode} on {wait.relation}" if wait.relation else "the end of its transaction"
    who = "Another connection of this process"
    way_out = "write from the thread that migrates"
    if own.on_foreign_server:
        who = "A foreign server's session, which a statement of the migration opened,"
        way_out = "use the table itself instead of the foreign one"
    return (
        f"{who} waited {duration(wait.waited_ms)} for {what}, which the migrations' own connection "
        "holds. PostgreSQL sees no deadlock there. Where the same migration has locked it, the "
        f"real run hangs: {way_out}. Where an earlier migration has, rehearse this one once that "
        "is applied, or with --clone."
    )
