"""The base class of hooks, with its phases, its context and its result."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from enum import Enum
from inspect import isasyncgenfunction, iscoroutinefunction, signature
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar, Literal, cast

from django.db import transaction

from django_confiture import conf

if TYPE_CHECKING:
    import psycopg
    from django.apps.registry import Apps
    from django.core.checks import CheckMessage
    from django.db.backends.base.base import BaseDatabaseWrapper

Direction = Literal["forward", "backward"]


class HookPhase(Enum):
    """When a hook runs; in the order of one migration."""

    BEFORE_VALIDATION = 1
    """First, in the migration's transaction. May veto by raising an error."""
    BEFORE_DDL = 2
    """Before the first operation, in the migration's transaction."""
    AFTER_DDL = 3
    """After the last operation and the deferred SQL, in the migration's transaction."""
    AFTER_VALIDATION = 4
    """After deferred constraints were checked, in the migration's transaction. May veto."""
    CLEANUP = 5
    """Always, exactly once: last inside the transaction, or after a failed migration's rollback."""
    ON_ERROR = 6
    """After the rollback, in its own transaction that commits; ``context.error`` is set."""


# Migration files name the module of this class, so it must stay: the public one.
HookPhase.__module__ = "django_confiture"

PHASES_BEFORE = (HookPhase.BEFORE_VALIDATION, HookPhase.BEFORE_DDL)
"""Before the first operation."""
PHASES_AFTER = (HookPhase.AFTER_DDL, HookPhase.AFTER_VALIDATION)
"""After the last operation, or where a ``RunHook`` stands."""
PHASES_AT_END = (HookPhase.CLEANUP, HookPhase.ON_ERROR)
"""When the migration ends, wherever a ``RunHook`` stands."""


@dataclass
class HookResult:
    """What one hook did.

    ``execution_time_ms`` is measured by the executor if the hook leaves it at 0. ``stats`` holds
    any figures that the hook wants to report.
    """

    phase: str
    hook_name: str
    rows_affected: int = 0
    stats: dict[str, Any] | None = None
    execution_time_ms: int = 0

    def __post_init__(self) -> None:
        if self.stats is None:
            self.stats = {}


class HookContext:
    """What the hooks of one migration run share.

    A unit test can build one from three strings, without Django. During a migration it also has
    the attributes below.
    """

    app_label: str
    """The migration's app; empty outside a migration."""
    using: str | None
    """The database alias that is being migrated."""
    connection: BaseDatabaseWrapper | None
    """Django's connection; its ``.connection`` is the ``conn`` that the hook receives."""
    plan: tuple[str, ...]
    """Every migration that this ``migrate`` carries out, in order, as ``app_label.name``; empty
    if no ``pre_migrate`` was sent."""
    options: Mapping[str, Any]
    """The ``OPTIONS`` of the running hook from settings, overridden by those of ``RunHook``."""
    phase: str
    """The phase of the running hook, such as ``"BEFORE_DDL"``."""
    dry_run: bool
    """True during ``migrate_dryrun``: everything is rolled back at the end."""
    error: BaseException | None
    """The error that failed the migration; set in ON_ERROR, and in CLEANUP after a failure."""

    def __init__(
        self,
        migration_name: str,
        migration_version: str,
        direction: str = "forward",
        *,
        app_label: str = "",
        connection: BaseDatabaseWrapper | None = None,
        apps: Callable[[], Apps] | None = None,
        plan: Sequence[str] = (),
        dry_run: bool = False,
    ) -> None:
        """Needs the migration's file name and its number; see the attributes for the rest."""
        if direction not in ("forward", "backward"):
            raise ValueError(f"direction is {direction!r}; use 'forward' or 'backward'.")
        self.migration_name = migration_name
        self.migration_version = migration_version
        self.direction = cast("Direction", direction)
        self.app_label = app_label
        self.connection = connection
        self.using = connection.alias if connection is not None else None
        self.plan = tuple(plan)
        self.options = {}
        self.phase = ""
        self.dry_run = dry_run
        self.error = None
        self.recorded_on_commit: list[Callable[[], object]] = []
        self.on_progress: Callable[[int, int | None], None] | None = None
        self._apps = apps
        self._stats: dict[str, Any] = {}

    def __repr__(self) -> str:
        return f"<HookContext {self.label} {self.direction}>"

    @property
    def label(self) -> str:
        """``app_label.migration_name``, as Django prints a migration."""
        return ".".join(filter(None, (self.app_label, self.migration_name)))

    @property
    def apps(self) -> Apps:
        """The historical models at this point, as ``RunPython`` gets them."""
        if self._apps is None:
            raise RuntimeError(
                "context.apps exists only while a migration runs; "
                "in a unit test pass HookContext(..., apps=lambda: django.apps.apps)."
            )
        return self._apps()

    def set_apps(self, apps: Callable[[], Apps]) -> None:
        """Set the callable that returns :attr:`apps`, since rendering models is costly."""
        self._apps = apps

    def get_stat(self, key: str) -> Any:
        """Return what a hook of this migration run stored under ``key``, else ``None``."""
        return self._stats.get(key)

    def set_stat(self, key: str, value: Any) -> None:
        """Store ``value`` under ``key`` for hooks that run later in this migration."""
        self._stats[key] = value

    def on_commit(self, func: Callable[[], object]) -> None:
        """Call ``func`` after the migration's commit; a dry run only records it."""
        if self.connection is None or self.dry_run:
            self.recorded_on_commit.append(func)
        else:
            transaction.on_commit(func, using=self.connection.alias)

    def progress(self, done: int, total: int | None = None) -> None:
        """Report that ``done`` of ``total`` units are finished, to show progress."""
        if self.on_progress is not None:
            self.on_progress(done, total)


class Hook(ABC):
    """Code that runs around a migration. Subclass it, set ``phase``, write ``execute``."""

    phase: ClassVar[HookPhase]
    """When the hook runs, unless ``RunHook(..., phase=...)`` or settings say otherwise."""

    directions: ClassVar[tuple[str, ...]] = ("forward",)
    """The directions it handles, ``"forward"`` and ``"backward"``; it is skipped in the others."""

    on_failure: ClassVar[str] = "abort"
    """``"abort"`` fails the migration; ``"continue"`` logs the error and goes on."""

    timeout: ClassVar[str | None] = None
    """A duration such as ``"30s"``: PostgreSQL's ``statement_timeout`` while the hook runs.

    PostgreSQL cancels a statement that takes longer. Python code is not interrupted: a hook that
    took longer as a whole is logged as ``hook_over_timeout``.
    """

    runs_in_dry_run: ClassVar[bool] = True
    """Set it to False for a hook that talks to the outside world."""

    options: Mapping[str, Any] = MappingProxyType({})
    """``OPTIONS`` from settings or ``RunHook(options=...)``; ``context.options`` is the same."""

    @abstractmethod
    def execute(self, conn: psycopg.Connection[Any], context: HookContext) -> HookResult:
        """Do the work on ``conn``, the psycopg connection that Django migrates with."""

    def check(self) -> list[CheckMessage]:
        """Return problems for ``manage.py check``: missing settings, bad options."""
        return []


@dataclass(frozen=True)
class HookPolicy:
    """The class attributes of a hook, checked."""

    directions: tuple[str, ...]
    tolerated: bool
    timeout: timedelta | None
    runs_in_dry_run: bool

    @classmethod
    def of(cls, hook: Hook) -> HookPolicy:
        """Read ``hook``'s attributes; raise ``SettingError`` for an invalid one."""
        directions: object = hook.directions
        if not isinstance(directions, tuple) or any(
            each not in ("forward", "backward") for each in directions
        ):
            raise _nonsense(hook, "directions", 'use ("forward",), ("backward",) or both')
        if hook.on_failure not in ("abort", "continue"):
            raise _nonsense(hook, "on_failure", 'use "abort" or "continue"')
        if not isinstance(hook.runs_in_dry_run, bool):
            raise _nonsense(hook, "runs_in_dry_run", "use True or False")
        if not isinstance(getattr(hook, "phase", HookPhase.AFTER_DDL), HookPhase):
            raise _nonsense(hook, "phase", "use a HookPhase, such as HookPhase.AFTER_DDL")
        timeout = conf.parse_duration(hook.timeout, name=f"{type(hook).__name__}.timeout")
        if timeout is not None and timeout < timedelta(milliseconds=1):
            raise _nonsense(hook, "timeout", "use a duration of 1ms or more, or None")
        _check_execute(hook)
        return cls(hook.directions, hook.on_failure == "continue", timeout, hook.runs_in_dry_run)

    def reason_to_skip(self, context: HookContext) -> str:
        """Return why the hook does not run in ``context``; ``""`` if it does."""
        if context.direction not in self.directions:
            return f"direction {context.direction} is not in its directions {self.directions}"
        if context.dry_run and not self.runs_in_dry_run:
            return "runs_in_dry_run is False"
        return ""


def _check_execute(hook: Hook) -> None:
    """Raise an error for an ``execute`` that can't be called, or returns before it has run."""
    name = f"{type(hook).__name__}.execute"
    if iscoroutinefunction(hook.execute) or isasyncgenfunction(hook.execute):
        raise conf.SettingError(f"{name}() is async", "write def instead of async def")
    try:
        with suppress(ValueError):  # no signature: a compiled function, or no self
            signature(hook.execute).bind(None, None)
    except TypeError as error:
        fix = "write def execute(self, conn, context)"
        raise conf.SettingError(f"{name}() cannot take conn and context ({error})", fix) from error


def _nonsense(hook: Hook, attribute: str, fix: str) -> conf.SettingError:
    name = type(hook).__name__
    return conf.SettingError(f"{name}.{attribute} is {getattr(hook, attribute)!r}", fix)
