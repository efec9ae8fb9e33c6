"""The errors that django-confiture raises.

::

    Exception
    └── MigrationError             base of all of them
        ├── HookError              a hook raised, or returned no HookResult
        │   └── HookRefusal        it raised HookVeto: the hook refuses the migration
        ├── HookVeto               raised by a hook that refuses the migration
        ├── HookLookupError        a name, path or class that does not lead to a hook
        ├── MigrationGaveWay       a real migration ended: other sessions were waiting for it
        ├── MigrationGotNoLock     a real migration ended: no lock, at the last attempt either
        ├── MigrationSessionLost   a real migration ended: the server ended its session
        ├── MigrateRefused         a real migrate can't start with these settings; nothing has run
        ├── DryRunError            the rehearsed migration would fail
        ├── DryRunYielded          other sessions waited for the dry run, so it ended
        ├── DryRunRefused          the dry run did not start, or could not go on safely
        │   └── DryRunStopped      it stopped partway through, at a limit
        ├── BackfillError          a backfill can't go on, or has not been completed
        │   ├── BackfillLookupError  a path leads to no backfill that can run
        │   └── BackfillRefusal    RequireBackfill refuses the migration
        └── StatsError             statistics of production that cannot be collected or read
"""

from __future__ import annotations

from collections.abc import Sequence

from django.core.management.base import CommandError
from django.db.utils import OperationalError


class MigrationError(Exception):
    """Base of every error that this package raises."""


class HookError(MigrationError):
    """A hook failed; always raised ``from`` the original error."""

    def __init__(self, hook_name: str, phase: object, error: BaseException) -> None:
        """``phase`` is a ``HookPhase`` or its name."""
        super().__init__(hook_name, phase, error)
        self.hook_name = hook_name
        self.phase = str(getattr(phase, "name", phase))
        self.original_error = error

    def __str__(self) -> str:
        return f"Hook {self.hook_name} failed in phase {self.phase}: {self.original_error}"


class HookRefusal(HookError, CommandError):  # noqa: N818 - nothing is wrong with the hook
    """A hook refuses the migration by a :class:`HookVeto`: ``migrate`` ends with its text alone."""


class HookLookupError(MigrationError):
    """A name, path or class does not lead to a hook that can run; the problem says who asked."""

    def __init__(self, problem: str, fix: str) -> None:
        """``problem`` has no full stop; ``fix`` is one or more sentences."""
        super().__init__(problem, fix)
        self.problem = problem
        self.fix = fix

    def __str__(self) -> str:
        return f"{self.problem}. {self.fix}"


class HookVeto(MigrationError):  # noqa: N818 - a refusal, not a failure of the hook
    """Raised by a hook to refuse the migration; the text says what it found, and what to do."""


class MigrationGaveWay(MigrationError, CommandError):  # noqa: N818 - nothing is wrong with it
    """Other sessions had waited for a real migration for longer than ``MAX_BLOCKING``."""


class MigrationGotNoLock(MigrationError, CommandError, OperationalError):  # noqa: N818
    """A migration ended in a lock timeout or a deadlock, the last of ``LOCK_RETRIES`` as well.

    It is Django's ``OperationalError`` too, for those who catch that.
    """


class MigrationSessionLost(MigrationError, CommandError, OperationalError):  # noqa: N818
    """The session of a real migration has ended; one line says where, and the way on.

    It is Django's ``OperationalError`` too, for those who catch that.
    """


class MigrateRefused(MigrationError, CommandError):  # noqa: N818 - a refusal, not a failure
    """A real ``migrate`` can't start with these settings; one line says why, and the way out."""


class DryRunError(MigrationError):
    """A migration would fail; always raised ``from`` the original error."""

    def __init__(self, migration_name: str, error: BaseException) -> None:
        """``migration_name`` is the name of the migration's file."""
        super().__init__(migration_name, error)
        self.migration_name = migration_name
        self.original_error = error

    def __str__(self) -> str:
        return f"Dry-run failed for migration {self.migration_name}: {self.original_error}"


class DryRunRefused(MigrationError):  # noqa: N818 - a refusal, not a failure of the migration
    """The dry run did not start, or could not go on safely; one line says why."""


class DryRunStopped(DryRunRefused):
    """The dry run stopped at a limit and still has a report; one line says which limit, and why."""


class DryRunYielded(MigrationError):  # noqa: N818 - nothing is wrong with the migration
    """Other sessions waited for the dry run, so it ended; ``waiters`` says who."""

    def __init__(self, waiters: Sequence[object]) -> None:
        """``waiters`` are the sessions that waited."""
        super().__init__(waiters)
        self.waiters = waiters

    def __str__(self) -> str:
        number = len(self.waiters)
        sessions = "session" if number == 1 else "sessions"
        return f"{number} other {sessions} waited for the dry run, so it ended."


class StatsError(MigrationError):
    """Statistics of production that cannot be collected or read; one line says why."""


class BackfillError(MigrationError):
    """A backfill can't go on, or has not been completed; one line says why and what to do."""


class BackfillLookupError(BackfillError):
    """A dotted path leads to no backfill that can run."""


class BackfillRefusal(BackfillError, CommandError):  # noqa: N818 - nothing is wrong with it
    """``RequireBackfill`` refuses a migration: ``migrate`` ends with its text alone."""
