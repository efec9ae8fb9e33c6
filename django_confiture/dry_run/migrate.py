"""Django's own ``migrate`` with another executor.

It is ``migrate`` that runs, with its rules for plans, its messages and its signals; only its
executor is replaced, for as long as it runs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from io import StringIO
from typing import Any

from django.core.management import call_command
from django.core.management.commands import migrate
from django.db.migrations.executor import MigrationExecutor

from django_confiture.dry_run.server.driver import MIGRATE_EXECUTOR
from django_confiture.dry_run.server.patches import patched


def migrate_with(
    executor: Callable[..., MigrationExecutor],
    *,
    using: str,
    target: Sequence[str | None] = (),
    **options: Any,
) -> None:
    """Run ``migrate`` silently; raises what it raises.

    ``executor`` makes the executor, from what ``migrate`` passes; ``target`` is an app label, and
    a migration's name; ``options`` are those of ``migrate``.
    """
    command = migrate.Command(stdout=StringIO(), stderr=StringIO(), no_color=True)
    given = [each for each in target if each is not None]
    with patched((MIGRATE_EXECUTOR, lambda _original: executor)):
        call_command(
            command, *given, database=using, interactive=False, skip_checks=True, **options
        )
