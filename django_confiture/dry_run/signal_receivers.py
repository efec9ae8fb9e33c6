"""Records what receivers of ``pre_migrate`` and ``post_migrate`` do, each apart, as operations are.

All receivers of one signal stand in the place of a migration, and each receiver in that of an
operation: so locks, findings, forecasts and budgets apply to them as to any other.
"""

from __future__ import annotations

import inspect
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field, replace
from functools import partial, wraps
from pathlib import Path
from typing import Any

from django.db.migrations.migration import Migration
from django.db.migrations.operations.base import Operation
from django.db.models.signals import post_migrate, pre_migrate
from django.dispatch import Signal

from django_confiture.dry_run.judge import Judge
from django_confiture.dry_run.recording.recorder import OpenOperation, Recorder
from django_confiture.dry_run.results import RECEIVERS, MigrationResult, OperationResult
from django_confiture.dry_run.results.deploy import StepBreaks
from django_confiture.dry_run.results.source_location import shown
from django_confiture.dry_run.server.driver import EMIT_SIGNALS, LIVE_RECEIVERS
from django_confiture.dry_run.server.patches import patched
from django_confiture.dry_run.stage import Stage
from django_confiture.formatting import path_of

_SIGNALS = {"pre_migrate": pre_migrate, "post_migrate": post_migrate}

_OUR_OWN = f"{__name__.partition('.')[0]}."
"""What the names of our own receivers begin with: they weave hooks in, and touch no table."""

_CHANGES_ROWS = "django.contrib."
"""Those of Django's own apps write rows at most; they change no table."""

_Receiver = Callable[..., object]


class ReceiverOperation(Operation):
    """One receiver, in the place of an operation."""

    reduces_to_sql = False

    def __init__(self, receiver: _Receiver) -> None:
        self.receiver = receiver

    def describe(self) -> str:
        """Return where the receiver is defined, as ``module.name``."""
        return path_of(self.receiver)

    def database_forwards(self, *_args: object) -> None:
        """Do nothing: Django calls the receiver by itself."""


class SignalReceivers(Migration):
    """The receivers of one signal, in the place of a migration; no transaction is around them."""

    atomic = False


@dataclass(frozen=True)
class _Sending:
    """A signal that is being sent, once for each app."""

    signal: Signal
    operations: list[Operation]
    """Those of what stands for a migration: one for each receiver that was called so far."""
    thread: int = field(default_factory=threading.get_ident)
    known: dict[str, OpenOperation] = field(default_factory=dict)
    """Name of a receiver → what was recorded of it for the apps before."""


class ReceiverWatch:
    """Records the receivers of both signals, for ``migrate`` of one alias."""

    def __init__(self, alias: str, stage: Stage, recorder: Recorder, judge: Judge) -> None:
        self._alias = alias
        self._stage = stage
        self._recorder = recorder
        self._judge = judge
        self._sending: _Sending | None = None
        self._results: list[MigrationResult] = []

    @property
    def results(self) -> tuple[MigrationResult, ...]:
        """What the receivers of each signal did, where they sent anything."""
        return tuple(self._results)

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Record the receivers that ``migrate`` calls while the block is open."""
        emitting = [
            (name, partial(self._emitting, signal))
            for signal, name in zip(_SIGNALS, EMIT_SIGNALS, strict=True)
        ]
        with patched(*emitting, (LIVE_RECEIVERS, self._told_apart)):
            yield

    def _emitting(self, name: str, original: Callable[..., None]) -> Callable[..., None]:
        @wraps(original)
        def emit(verbosity: int, interactive: object, db: str, **kwargs: Any) -> None:
            if db != self._alias or self._sending is not None:
                original(verbosity, interactive, db, **kwargs)
                return
            with self._recorded(name):
                original(verbosity, interactive, db, **kwargs)

        return emit

    @contextmanager
    def _recorded(self, name: str) -> Iterator[None]:
        """Record what the receivers of one signal do, and judge it at the end."""
        migration = SignalReceivers(name, RECEIVERS)
        operations: list[Operation] = []
        vars(migration)["operations"] = operations
        self._sending = _Sending(_SIGNALS[name], operations)
        try:
            with self._recorder.own_work():  # a lock timeout in it is not theirs
                self._stage.start_migration()
                self._judge.start_receivers()
        except BaseException:
            self._sending = None
            raise
        self._recorder.start_migration(migration, "forward")
        try:
            with self._recorder.around_operations():
                yield
            with self._recorder.own_work():
                self._stage.check()
        except BaseException as error:
            self._finish(error)
            raise
        self._finish(None)

    def _finish(self, error: BaseException | None) -> None:
        self._sending = None
        recorded = self._recorder.finish_migration()
        self._stage.end_migration()
        excused = error is not None and self._stage.excuses(error, recorded)
        if error is None and not any(section.matters for _operation, section in recorded.sections):
            self._judge.no_result()
            return
        result = self._judge.result(recorded, error, StepBreaks(), excused=excused)
        known = {each.index: each.operation for each in recorded.operations}
        active = {each.index for each in recorded.operations if each.section.matters}
        if error is not None and recorded.failed_in is not None:
            active.add(recorded.failed_in.index)
        operations = [_placed(o, known[o.index]) for o in result.operations if o.index in active]
        self._results.append(replace(result, file=None, line=None, operations=tuple(operations)))

    def _told_apart(self, original: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(original)
        def live_receivers(signal: Signal, sender: object) -> tuple[list[_Receiver], Any]:
            synchronous, asynchronous = original(signal, sender)
            sending = self._sending
            if sending is None or signal is not sending.signal:
                return synchronous, asynchronous
            return [partial(self._call, sending, each) for each in synchronous], asynchronous

        return live_receivers

    def _call(self, sending: _Sending, receiver: _Receiver, **named: Any) -> object:
        """Call a receiver, with what it does recorded as its own."""
        here = sending.thread == threading.get_ident() and self._sending is sending
        ours = path_of(receiver).startswith(_OUR_OWN)
        if ours or not here or named.get("using") != self._alias:
            return receiver(**named)
        if not path_of(receiver).startswith(_CHANGES_ROWS):
            with self._recorder.own_work():
                self._judge.receiver_is_called()
        with self._section_of(sending, receiver):
            return receiver(**named)

    def _section_of(self, sending: _Sending, receiver: _Receiver) -> AbstractContextManager[object]:
        name = path_of(receiver)
        if name in sending.known:
            return self._recorder.resumed(sending.known[name])
        return self._first_call(sending, name, receiver)

    @contextmanager
    def _first_call(self, sending: _Sending, name: str, receiver: _Receiver) -> Iterator[None]:
        operation = ReceiverOperation(receiver)
        sending.operations.append(operation)
        with self._recorder.operation(len(sending.operations) - 1, operation) as opened:
            sending.known[name] = opened
            yield


def _placed(result: OperationResult, operation: Operation) -> OperationResult:
    """Return the result with the place where the receiver is written, if that is in the project."""
    assert isinstance(operation, ReceiverOperation)
    place = _place(operation.receiver)
    named = replace(result, name="Receiver", line=None, end_line=None)
    if place is None:
        return named
    file, line, end_line = place
    return replace(named, file=file, line=line, end_line=end_line)


def _place(receiver: _Receiver) -> tuple[str, int, int] | None:
    while isinstance(receiver, partial):
        receiver = receiver.func
    try:
        path = inspect.getsourcefile(inspect.unwrap(receiver))
        lines, first = inspect.getsourcelines(inspect.unwrap(receiver))
    except (OSError, TypeError):
        return None
    file = shown(Path(path)) if path is not None else ""
    if not file or Path(file).is_absolute() or "site-packages" in Path(file).parts:
        return None  # not the project's own: no pull request can show it
    return file, first, first + len(lines) - 1
