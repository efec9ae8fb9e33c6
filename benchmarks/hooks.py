"""What hooks cost: wagtail's whole history migrated, with six no-op hooks around each migration.

Bare savepoints (SAVEPOINT and RELEASE) are timed after each migration of the same run, one by one,
as are the hooks. Of the six phases ON_ERROR runs only after a failure: five hooks run around a
migration that succeeds.
"""

from __future__ import annotations

import os
import sys
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any
from unittest import mock

ROUNDS = 3
PHASES = ("BEFORE_VALIDATION", "BEFORE_DDL", "AFTER_DDL", "AFTER_VALIDATION", "CLEANUP", "ON_ERROR")
RUN = len(PHASES) - 1


class Times(defaultdict[str, list[float]]):
    """Milliseconds, by what took them, each time that it ran."""

    def measured(self, name: str, func: Callable[..., Any]) -> Callable[..., Any]:
        """Return ``func``, its duration noted under ``name``."""

        def timed(*args: Any, **kwargs: Any) -> Any:
            started = perf_counter()
            try:
                return func(*args, **kwargs)
            finally:
                self[name].append((perf_counter() - started) * 1000)

        return timed


def main() -> None:
    sys.path.insert(0, str(Path(__file__).parent))
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "wagtail_settings")
    import django

    django.setup()
    without, with_hooks, every = [], [], Times(list)
    for _ in range(ROUNDS):
        without.append(migrate({"ENABLED": False}))
        seconds, times = migrate_with_hooks()
        with_hooks.append(seconds - sum(times.pop("bare")) / 1000)
        for name, each in times.items():
            every[name] += each
    print_result(median(without), median(with_hooks), every)


def print_result(without: float, with_hooks: float, times: Times) -> None:
    count = len(times["around"])
    added = [
        times["around"][i] - times["step"][i] - times["deferred"][i]  # those would run anyway
        for i in range(count)
    ]
    print(f"{count // ROUNDS} migrations, each wrapped, {ROUNDS} rounds; medians:")
    print(f"migrate: {without:.2f} s, with hooks {with_hooks:.2f} s, {with_hooks / without:.3f}")
    hook, per_migration = median(times["hook"]), median(added)
    print(f"a hook: {hook:.3f} ms; all that a migration's {RUN} add: {per_migration:.3f} ms,")
    print(f"  {median(times['check']):.3f} ms of it to check deferred constraints")
    for name in ("conn.transaction()", "transaction.atomic()"):
        bare = median(times[name])
        print(
            f"a bare savepoint of {name}: {bare:.3f} ms; a hook costs {hook / bare:.2f} of them, "
            f"{per_migration / RUN / bare:.2f} with all that is added"
        )


def migrate(confiture: dict[str, Any]) -> float:
    """Return the seconds that ``migrate`` takes in an empty schema."""
    from django.contrib.contenttypes.models import ContentType
    from django.core.management import call_command
    from django.db import connection
    from django.test import override_settings

    with connection.cursor() as cursor:
        cursor.execute("DROP SCHEMA public CASCADE; CREATE SCHEMA public")
    ContentType.objects.clear_cache()
    with override_settings(CONFITURE=confiture):
        started = perf_counter()
        call_command("migrate", verbosity=0, interactive=False)
        return perf_counter() - started


def migrate_with_hooks() -> tuple[float, Times]:
    """Return the seconds, and what took how long within them."""
    from django.db.models.signals import pre_migrate

    from django_confiture import Hook, HookResult, signals

    ran: Counter[tuple[str, str]] = Counter()
    planned: set[str] = set()
    times = Times(list)

    class NoOp(Hook):
        def execute(self, *_: object) -> HookResult:
            return HookResult(phase="", hook_name="NoOp")

    def plan_known(plan: Any, **_: object) -> None:
        planned.update(f"{each.app_label}.{each.name}" for each, _backwards in plan)

    def hook_ran(context: Any, phase: str, **_: object) -> None:
        ran[context.label, phase] += 1

    bare = times.measured("bare", lambda **_: time_savepoints(times))
    pre_migrate.connect(plan_known)
    signals.hook_finished.connect(hook_ran)
    signals.migration_finished.connect(bare)
    try:
        with measured(times):
            seconds = migrate({"PHASES": {phase: [NoOp] for phase in PHASES}})
    finally:
        pre_migrate.disconnect(plan_known)
        signals.hook_finished.disconnect(hook_ran)
        signals.migration_finished.disconnect(bare)
    expected = Counter((label, phase) for label in planned for phase in PHASES[:RUN])
    if ran != expected:
        sys.exit(f"not wrapped as planned: {(expected - ran) or (ran - expected)}")
    return seconds, times


@contextmanager
def measured(times: Times) -> Iterator[None]:
    """Time what runs around Django's own ``apply``, that itself, and parts of the former."""
    from django_confiture.hooks.executor import HookExecutor

    migration_run: Any = import_module("django_confiture.migrate.run")
    run = migration_run.MigrationRun
    around = run.around
    hook = HookExecutor.execute_phase
    deferred = migration_run.flush_deferred_sql
    check = migration_run.check_deferred_constraints
    replaced = mock.patch.object

    def around_step(self: Any, step: Callable[..., Any]) -> Any:
        return around(self, times.measured("step", step))

    with (
        replaced(run, "around", times.measured("around", around_step)),
        replaced(HookExecutor, "execute_phase", times.measured("hook", hook)),
        replaced(migration_run, "flush_deferred_sql", times.measured("deferred", deferred)),
        replaced(migration_run, "check_deferred_constraints", times.measured("check", check)),
    ):
        yield


def time_savepoints(times: Times) -> None:
    """Time as many bare savepoints as hooks have run, both ways, in a transaction as they have."""
    from django.db import connection, transaction

    def by_driver() -> None:
        with connection.connection.transaction():
            pass

    def by_django() -> None:
        with transaction.atomic():
            pass

    driver = times.measured("conn.transaction()", by_driver)
    django = times.measured("transaction.atomic()", by_django)
    with transaction.atomic():
        connection.connection.execute("")  # begins the transaction
        for _ in range(RUN):
            driver()
            django()


if __name__ == "__main__":
    main()
