"""The audit trail of a backfill."""

from __future__ import annotations

import getpass
import logging
import socket

from django.db.models.functions import Now

from django_confiture.backfills.models import BackfillEvent, BackfillRun, BackfillState
from django_confiture.backfills.safeguards.transactions import brief

logger = logging.getLogger("django_confiture.backfills")


def note(run: BackfillRun, action: str, *, using: str, actor: str, detail: str = "") -> None:
    """Record who did what in the audit trail, and log it."""
    BackfillEvent.objects.using(using).create(
        run_id=run.pk, action=action, actor=actor[:255], detail=detail
    )
    facts = {"backfill": run.name, "action": action, "actor": actor, "detail": detail}
    logger.info("backfill_event", extra=facts)


def fail(run: BackfillRun, why: str, *, using: str, actor: str) -> None:
    """Mark a backfill as failed, unless it has ended."""
    with brief(using):
        under_way = (BackfillState.QUEUED, BackfillState.RUNNING)
        changed = BackfillRun.objects.using(using).filter(pk=run.pk, state__in=under_way)
        if changed.update(state=BackfillState.FAILED, last_error=why, finished_at=Now()):
            note(run, BackfillState.FAILED.value, using=using, actor=actor, detail=why)


def os_actor() -> str:
    """Return the user of the operating system and the host."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a container's user without a name
        user = "unknown"
    return f"{user}@{socket.gethostname()}"
