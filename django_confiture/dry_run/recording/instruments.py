"""The instruments that measure one connection's statements, assembled in one place."""

from __future__ import annotations

from dataclasses import dataclass

from django_confiture.dry_run.measuring.dead_space import DeadSpaceLimit
from django_confiture.dry_run.measuring.lock_timeline import LockTimeline
from django_confiture.dry_run.measuring.lock_waits import LockWaits
from django_confiture.dry_run.measuring.prober import Prober
from django_confiture.dry_run.measuring.relations import Catalog
from django_confiture.dry_run.measuring.stopwatch import Stopwatch
from django_confiture.dry_run.measuring.successors import Successors
from django_confiture.dry_run.recording.savepoints import Savepoints
from django_confiture.dry_run.recording.statement_log import StatementLog
from django_confiture.dry_run.server.side_channel import Session
from django_confiture.dry_run.settings import DryRunSettings


@dataclass(frozen=True)
class Instruments:
    """The instruments of one connection: they share a session, a stopwatch and a snapshot."""

    session: Session
    clock: Stopwatch
    catalog: Catalog
    log: StatementLog
    prober: Prober
    successors: Successors
    timeline: LockTimeline
    savepoints: Savepoints
    dead_space: DeadSpaceLimit
    limits_statements: bool
    """Whether the dry run has a ``statement_timeout`` of its own."""
    waits: LockWaits | None = None
    """What the session waited for; None where no second connection looks."""


def instruments(
    session: Session,
    clock: Stopwatch,
    settings: DryRunSettings,
    *,
    waits: LockWaits | None = None,
) -> Instruments:
    """Take the snapshot, and return the instruments that measure against it."""
    catalog = Catalog(session)
    prober = Prober(session, catalog, clock)
    timeline = LockTimeline(catalog, clock)
    return Instruments(
        session=session,
        clock=clock,
        catalog=catalog,
        log=StatementLog(clock),
        prober=prober,
        successors=Successors(prober),
        timeline=timeline,
        savepoints=Savepoints(prober, timeline),
        dead_space=DeadSpaceLimit(session, catalog, settings.max_dead_space),
        limits_statements=bool(settings.statement_timeout),
        waits=waits,
    )
