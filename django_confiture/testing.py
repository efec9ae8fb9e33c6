"""Helpers for tests of your own hooks: run one on the test database, see which ones ran.

::

    class BackfillTests(TestCase):
        def test_it_fills_the_column(self):
            result = run_hook(Backfill, options={"batch": 10})
            self.assertEqual(result.rows_affected, 3)

    class MigrationTests(TransactionTestCase):
        def test_the_backup_is_checked(self):
            with capture_hooks() as hooks:
                call_command("migrate", "shop", "0003")
            hooks.assert_ran("RequireBackup", phase="BEFORE_VALIDATION")

The pytest fixtures ``run_hook`` and ``hook_runs`` do the same.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from django.apps import apps as installed
from django.db import DEFAULT_DB_ALIAS, connections

from django_confiture.hooks.base import Hook, HookContext, HookPhase, HookPolicy, HookResult
from django_confiture.hooks.context import migration_version
from django_confiture.hooks.executor import HookExecutor
from django_confiture.hooks.registry import HookRegistry, build_hook, registry
from django_confiture.signals import hook_finished

if TYPE_CHECKING:
    from django.apps.registry import Apps


def hook_context(
    migration_name: str = "0001_test",
    *,
    using: str = DEFAULT_DB_ALIAS,
    app_label: str = "",
    direction: str = "forward",
    apps: Apps | None = None,
    dry_run: bool = False,
    error: BaseException | None = None,
    stats: Mapping[str, Any] | None = None,
) -> HookContext:
    """Return a context as a migration would make it, on the database ``using``.

    ``apps`` are the installed models, unless you pass others. ``stats`` are values that earlier
    hooks have stored.
    """
    context = HookContext(
        migration_name,
        migration_version(migration_name),
        direction,
        app_label=app_label,
        connection=connections[using],
        apps=lambda: apps if apps is not None else installed,
        dry_run=dry_run,
    )
    context.error = error
    for key, value in (stats or {}).items():
        context.set_stat(key, value)
    return context


def run_hook(
    hook: Hook | type[Hook] | str,
    context: HookContext | None = None,
    *,
    options: Mapping[str, Any] | None = None,
    phase: HookPhase | None = None,
    **facts: Any,
) -> HookResult:
    """Run one hook as a migration does, in a savepoint, and return its result.

    ``hook`` is an instance, a class, a registered name or a dotted path; ``options`` override its
    own. The context is ``context``, or made by :func:`hook_context` from ``facts``.

    Raises ``HookError`` if the hook fails, even with ``on_failure = "continue"``, and an
    ``AssertionError`` with the reason if it would be skipped.
    """
    built = hook if isinstance(hook, Hook) else build_hook(hook, where="run_hook")
    name = type(built).__name__
    context = hook_context(**facts) if context is None else context
    assert context.connection is not None, "run_hook needs a context with a connection."
    in_phase = phase or getattr(built, "phase", None)
    if in_phase is None:
        raise AssertionError(f"{name} sets no phase; pass phase=HookPhase.AFTER_DDL to run_hook.")
    if reason := HookPolicy.of(built).reason_to_skip(context):
        raise AssertionError(f"{name} would be skipped: {reason}.")
    context.connection.ensure_connection()
    before = built.options
    built.options = {**before, **(options or {})}
    try:
        return _result_of(built, in_phase, context, context.connection.connection)
    finally:
        built.options = before


def _result_of(hook: Hook, phase: HookPhase, context: HookContext, conn: Any) -> HookResult:
    with capture_hooks() as captured:
        results = HookExecutor().execute_phase(conn, phase, [hook], context)
    if not results:
        error = captured.runs[-1].error  # hooks that it ran itself come before it
        assert error is not None
        raise error
    return results[0]


@dataclass(frozen=True)
class HookRun:
    """One run of one hook."""

    hook: str
    """The name of its class."""
    phase: str
    """Such as ``"AFTER_DDL"``."""
    outcome: str
    """``"completed"``, ``"failed"`` or ``"skipped"``."""
    migration: str
    """``app_label.name``."""
    direction: str
    """``"forward"`` or ``"backward"``."""
    using: str | None
    """The database alias."""
    duration_ms: float
    """Milliseconds."""
    result: HookResult | None = field(compare=False)
    """What it returned, if it completed."""
    error: Exception | None = field(compare=False)
    """Why it failed."""
    reason: str
    """Why it was skipped."""

    def __str__(self) -> str:
        return f"{self.hook} {self.outcome} in {self.phase} of {self.migration} ({self.direction})"


class CapturedHooks:
    """The runs of hooks in order, with assertions."""

    def __init__(self) -> None:
        self.runs: list[HookRun] = []

    def find(self, hook: str | type[Hook] | None = None, **facts: str) -> list[HookRun]:
        """Return the runs of ``hook``; ``facts`` are attributes of :class:`HookRun`."""
        name = hook.__name__ if isinstance(hook, type) else hook
        return [
            run
            for run in self.runs
            if name in (None, run.hook)
            and all(getattr(run, key) == value for key, value in facts.items())
        ]

    def assert_ran(
        self, hook: str | type[Hook], *, times: int | None = None, **facts: str
    ) -> list[HookRun]:
        """Check that ``hook`` completed, ``times`` times if that is given; return these runs."""
        runs = self.find(hook, **{"outcome": "completed", **facts})
        if not runs if times is None else len(runs) != times:
            wanted = "at least once" if times is None else f"{times} times"
            raise AssertionError(self._say(f"{_shown(hook, facts)} was to run {wanted}", len(runs)))
        return runs

    def assert_not_ran(self, hook: str | type[Hook] | None = None, **facts: str) -> None:
        """Check that ``hook``, or any hook if none is given, did not complete."""
        if runs := self.find(hook, **{"outcome": "completed", **facts}):
            raise AssertionError(self._say(f"{_shown(hook, facts)} was not to run", len(runs)))

    def assert_order(self, *hooks: str | type[Hook]) -> None:
        """Check that exactly these hooks completed, in this order."""
        wanted = [hook.__name__ if isinstance(hook, type) else hook for hook in hooks]
        found = [run.hook for run in self.find(outcome="completed")]
        if found != wanted:
            raise AssertionError(self._say(f"{', '.join(wanted)} were to run", len(found)))

    def _say(self, expectation: str, found: int) -> str:
        listed = "".join(f"\n  {run}" for run in self.runs) or " none"
        return f"{expectation}, but {found} did. What ran:{listed}"


def _shown(hook: str | type[Hook] | None, facts: Mapping[str, str]) -> str:
    name = hook.__name__ if isinstance(hook, type) else hook or "A hook"
    conditions = ", ".join(f"{key}={value!r}" for key, value in facts.items())
    return f"{name} ({conditions})" if conditions else name


@contextmanager
def capture_hooks() -> Iterator[CapturedHooks]:
    """Record every hook that runs inside the ``with`` block."""
    captured = CapturedHooks()

    def note(context: HookContext, **facts: Any) -> None:
        names = ("hook", "phase", "outcome", "duration_ms", "result", "error", "reason")
        captured.runs.append(
            HookRun(
                **{name: facts[name] for name in names},
                migration=context.label,
                direction=context.direction,
                using=context.using,
            )
        )

    hook_finished.connect(note)
    try:
        yield captured
    finally:
        hook_finished.disconnect(note)


@contextmanager
def isolated_registry() -> Iterator[HookRegistry]:
    """Yield the project's registry, and restore it afterwards: a test may register hooks."""
    with registry.isolated():
        yield registry


__all__: Sequence[str] = [
    "CapturedHooks",
    "HookRun",
    "capture_hooks",
    "hook_context",
    "isolated_registry",
    "run_hook",
]
