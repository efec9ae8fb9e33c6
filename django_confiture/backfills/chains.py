"""Chains of tasks: as many as workers are wanted, each task with a link that only one can take.

A task takes its link, which counts the chain's generation up, works, and queues its successor with
the new one. Tasks with the same link may be queued several times, in case that a worker dies with
one of them: the first to start takes it, the others end at once.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from django.db.models.functions import Now

from django_confiture.backfills.models import BackfillChain, BackfillRun
from django_confiture.backfills.safeguards.transactions import brief


@dataclass(frozen=True)
class Link:
    """What the next task of a chain needs to work."""

    number: int
    """Of the chain, from 0."""
    generation: int


def begin_chains(run: BackfillRun, *, using: str, wanted: int) -> list[Link]:
    """Return a link for each of so many chains, whether or not tasks with it are queued."""
    with brief(using):
        BackfillRun.objects.using(using).filter(pk=run.pk).update(workers_wanted=wanted)
        chains = BackfillChain.objects.using(using)
        chains.bulk_create(
            [BackfillChain(run_id=run.pk, number=number) for number in range(wanted)],
            ignore_conflicts=True,
        )
        begun = chains.filter(run_id=run.pk, number__lt=wanted)
        begun.update(queued_at=Now())
        return [Link(*link) for link in begun.values_list("number", "generation")]


def take(link: Link, run: BackfillRun, *, using: str) -> Link | None:
    """Return the link for the successor; None if another task has taken this one."""
    chains = BackfillChain.objects.using(using).filter(
        run_id=run.pk, number=link.number, generation=link.generation
    )
    if link.number >= run.workers_wanted:
        return None
    if not chains.update(generation=link.generation + 1, queued_at=Now()):
        return None
    return Link(link.number, link.generation + 1)


def overdue(run: BackfillRun, *, using: str, after: timedelta) -> list[Link]:
    """Return links that were queued so long ago that their tasks may be lost; each only once."""
    chains = BackfillChain.objects.using(using).filter(run_id=run.pk)
    late = chains.filter(number__lt=run.workers_wanted, queued_at__lt=Now() - after)
    found = []
    for number, generation, queued_at in late.values_list("number", "generation", "queued_at"):
        same = chains.filter(number=number, generation=generation, queued_at=queued_at)
        if same.update(queued_at=Now()):
            found.append(Link(number, generation))
    return found
