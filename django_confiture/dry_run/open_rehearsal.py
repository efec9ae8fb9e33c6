"""What a rehearsal works with from its stage's opening on: recorder, judge, watches."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from time import perf_counter
from typing import Any

from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.migrations.migration import Migration

from django_confiture.dry_run.deploy_watch import DeployWatch
from django_confiture.dry_run.isolation.router_watch import RouterWatch
from django_confiture.dry_run.judge import Judge, Known
from django_confiture.dry_run.recording.recorder import Recorder
from django_confiture.dry_run.server.quick_states import quick_states
from django_confiture.dry_run.signal_receivers import ReceiverWatch
from django_confiture.dry_run.sql.texts import redaction
from django_confiture.dry_run.stage import Opened, Stage
from django_confiture.dry_run_mark import marked


class ChangedInstances:
    """Restores the migrations that a dry run changes: they may be the caller's."""

    def __init__(self) -> None:
        self._before: list[tuple[Migration, dict[str, Any]]] = []

    def note(self, migration: Migration) -> None:
        """Note an instance that is about to be changed."""
        before = {**vars(migration), "operations": list(migration.operations)}
        self._before.append((migration, before))

    def restore(self) -> None:
        """Give each its attributes back."""
        for instance, before in self._before:
            instance.__dict__ = before


@dataclass(frozen=True)
class OpenRehearsal:
    """One run, from the opening of its stage on; the report needs it after the end, too."""

    started: float
    """By ``perf_counter``."""
    stage: Opened
    recorder: Recorder
    judge: Judge
    receivers: ReceiverWatch
    router_watch: RouterWatch
    deploy_watch: DeployWatch
    instances: ChangedInstances

    def own_work(self) -> AbstractContextManager[None]:
        """Stop the clock inside the block."""
        return self.stage.instruments.clock.stopped()


@contextmanager
def open_rehearsal(
    wrapper: BaseDatabaseWrapper,
    stage: Stage,
    known: Known,
    *,
    show_values: bool,
    running_code: bool,
) -> Iterator[OpenRehearsal]:
    """Open the stage and watch what is migrated inside; restore everything at the end."""
    started = perf_counter()
    with ExitStack() as stack:
        stack.enter_context(redaction.shown(show=show_values))
        at_end = stack.enter_context(ExitStack())
        opened = stack.enter_context(stage.open())
        stack.enter_context(quick_states())
        instruments = opened.instruments
        recorder = Recorder(instruments)
        judge = Judge(
            instruments.session,
            instruments.catalog,
            known,
            has_lock_timeout=opened.has_lock_timeout,
            recount=instruments.prober.recount,
        )
        at_end.callback(judge.close)
        instances = ChangedInstances()
        stack.callback(instances.restore)
        stack.enter_context(marked(wrapper))
        router_watch = RouterWatch(wrapper.alias)
        stack.enter_context(router_watch.watching())
        stack.enter_context(recorder.following_hooks(wrapper))
        receivers = ReceiverWatch(wrapper.alias, stage, recorder, judge)
        stack.enter_context(receivers.watching())
        deploy_watch = DeployWatch(wrapper, opened, enabled=running_code, queries=known.queries)
        yield OpenRehearsal(
            started, opened, recorder, judge, receivers, router_watch, deploy_watch, instances
        )
