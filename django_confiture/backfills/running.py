"""A backfill in this process, from beginning to end."""

from __future__ import annotations

from django_confiture.backfills import control
from django_confiture.backfills.declaration import load_backfill
from django_confiture.backfills.models import BackfillState
from django_confiture.backfills.options import backfill_options
from django_confiture.backfills.runner import Runner
from django_confiture.backfills.throttling import throttling_of


def run_here(name: str, *, using: str, actor: str) -> BackfillState:
    """Work on a backfill until it has ended, with whatever other workers there are."""
    options, backfill = backfill_options(), load_backfill(name)
    throttling = throttling_of(backfill, options)
    run = control.prepare(name, using=using, actor=actor)
    return Runner(run, backfill, using=using, options=options, throttling=throttling).complete()
