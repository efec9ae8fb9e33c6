"""Runs a backfill in this process until it has ended."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from functools import partial
from threading import Event

from django.db import connections

from django_confiture.backfills import control
from django_confiture.backfills.declared.declaration import Backfill, load_backfill
from django_confiture.backfills.error_kinds import with_retries
from django_confiture.backfills.models import BackfillRun, BackfillState
from django_confiture.backfills.options import BackfillOptions, backfill_options
from django_confiture.backfills.ranges.range_worker import Job
from django_confiture.backfills.runner import Runner
from django_confiture.backfills.throttles.configured import throttling_of


def run_here(name: str, *, using: str, actor: str, workers: int | None = None) -> BackfillState:
    """Work on a backfill until it has ended, in threads, with whatever other workers there are.

    Return how it ended, though another process may have begun it again by now.

    Python's work and the server's then overlap. Where the connection is in a transaction, there
    is one worker on it.
    """
    options, backfill = backfill_options(), load_backfill(name)
    throttling_of(backfill, options)  # what is wrong with it, before anything is started
    again = partial(with_retries, using=using, attempts=options.attempts)
    run = again(lambda: control.prepare(name, using=using, actor=actor))
    workers = options.workers if workers is None else workers
    if workers == 1 or connections[using].in_atomic_block:
        ended = _runner(run, backfill, using, options).complete()
    else:
        ended = _in_threads(run, backfill, using, options, workers)
    again(lambda: run.refresh_from_db(using=using))
    return BackfillState(run.state) if ended is None else ended


def _runner(run: BackfillRun, backfill: Backfill, using: str, options: BackfillOptions) -> Runner:
    throttling = throttling_of(backfill, options)
    return Runner(Job(run, backfill, using, options, throttling=throttling))


def _in_threads(
    run: BackfillRun, backfill: Backfill, using: str, options: BackfillOptions, workers: int
) -> BackfillState | None:
    """Let each worker have its own connection; one that fails, or Ctrl-C, stops them all."""
    stopped = Event()

    def work() -> BackfillState | None:
        try:
            return _runner(run, backfill, using, options).complete(stop=stopped.is_set)
        finally:
            stopped.set()
            connections[using].close()

    with ThreadPoolExecutor(workers, thread_name_prefix="confiture-backfill") as pool:
        futures = [pool.submit(work) for _ in range(workers)]
        try:
            ended = [future.result() for future in futures]
        finally:
            stopped.set()
    return next((each for each in ended if each is not None), None)
