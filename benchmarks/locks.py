"""Whether the dry run's locks are those of a real run: a project's history, from its middle on.

Each migration's transaction is asked for its locks right before it commits. Ends with 1 where the
dry run has missed one, or has one too many, of those that block other sessions.
"""

from __future__ import annotations

import argparse
import os
import sys
from functools import partial
from pathlib import Path
from typing import Any

_TABLES = """
SELECT oid::bigint, relname FROM pg_class
WHERE relkind IN ('r', 'p', 'm', 'v', 'f') AND relnamespace = 'public'::regnamespace
"""
_HELD = """
SELECT relation::bigint, mode FROM pg_locks
WHERE pid = pg_backend_pid() AND locktype = 'relation' AND granted
"""

Locks = dict[str, dict[str, Any]]
"""Migration → table that existed before the plan → the strongest lock."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--settings", required=True, metavar="MODULE",
                        help="wagtail_settings, oscar_settings, or any with a PostgreSQL of its "
                        "own, the schemas of which are dropped")  # fmt: skip
    parser.add_argument("--from", type=float, default=0.5, dest="start", metavar="SHARE",
                        help="how much of the history is applied beforehand (0.5)")  # fmt: skip
    args = parser.parse_args()
    sys.path.insert(0, str(Path(__file__).parent))
    os.environ["DJANGO_SETTINGS_MODULE"] = args.settings
    import django

    django.setup()
    from django.db import connection

    applied, pending = bring_to(args.start)
    print(f"{args.settings}: {applied} migrations applied, {pending} to come")
    dry = rehearsed()
    real, without_transaction = migrated(connection)
    sys.exit(told(dry, real, without_transaction))


def bring_to(share: float) -> tuple[int, int]:
    """Apply the first part of the history to an empty database."""
    from django.core.management.sql import emit_pre_migrate_signal
    from django.db import connection
    from django.db.migrations.executor import MigrationExecutor

    with connection.cursor() as cursor:
        cursor.execute("DROP SCHEMA public CASCADE; CREATE SCHEMA public")
    executor: Any = MigrationExecutor(connection)
    plan = executor.migration_plan(executor.loader.graph.leaf_nodes())
    first = plan[: int(len(plan) * share)]
    state = executor._create_project_state(with_applied_migrations=True)
    emit_pre_migrate_signal(0, interactive=False, db="default", apps=state.apps, plan=first)
    executor.migrate(None, plan=first, state=state)
    return len(first), len(plan) - len(first)


def rehearsed() -> Locks:
    from django.db import connections

    from django_confiture.dry_run.locks.modes import LockMode
    from django_confiture.dry_run.migrate import migrate_with
    from django_confiture.dry_run.migration_executor import RehearsalExecutor
    from django_confiture.dry_run.transaction_rehearsal import transaction_rehearsal

    rehearsal = transaction_rehearsal(connections["default"])
    with rehearsal.open():
        migrate_with(partial(RehearsalExecutor, rehearsal), using="default")
    return {
        each.label: {table.relation: LockMode[table.strongest_lock] for table in each.tables}
        for each in rehearsal.report().migrations
    }


def migrated(connection: Any) -> tuple[Locks, set[str]]:
    """Apply the rest for good; also return the migrations that have no transaction to look into."""
    from django.core.management import call_command
    from django.db.backends.base.schema import BaseDatabaseSchemaEditor as Editor
    from django.db.migrations.executor import MigrationExecutor

    from django_confiture.dry_run.locks.modes import LockMode

    def ask(query: str) -> list[Any]:
        with connection.cursor() as cursor:
            cursor.execute(query)
            return list(cursor.fetchall())

    tables = dict(ask(_TABLES))
    found: Locks = {}
    without: set[str] = set()
    current = ""
    leave, apply = Editor.__exit__, MigrationExecutor.apply_migration

    def leaving(self: Any, kind: Any, error: Any, traceback: Any) -> None:
        if kind is None and self.atomic_migration and current:
            for statement in self.deferred_sql:
                self.execute(statement, None)
            self.deferred_sql.clear()
            held = found.setdefault(current, {})
            for oid, mode in ask(_HELD):
                if name := tables.get(oid):
                    held[name] = max(LockMode[mode], held.get(name, LockMode.AccessShareLock))
        leave(self, kind, error, traceback)

    def applying(self: Any, state: Any, migration: Any, **options: Any) -> Any:
        nonlocal current
        current = f"{migration.app_label}.{migration.name}"
        if not migration.atomic:
            without.add(current)
        return apply(self, state, migration, **options)

    Editor.__exit__, MigrationExecutor.apply_migration = leaving, applying  # type: ignore[method-assign, assignment]
    call_command("migrate", verbosity=0, interactive=False)
    return found, without


def told(dry: Locks, real: Locks, without_transaction: set[str]) -> int:
    """Print the differences and their numbers; return the exit code."""
    from django_confiture.dry_run.locks.modes import LockMode

    counts = {"equal": 0, "missed": 0, "too many": 0}
    for label in sorted(dry.keys() | real.keys()):
        if label in without_transaction:
            print(f"  {label} has no transaction: not compared")
            continue
        expected, found = real.get(label, {}), dry.get(label, {})
        for table in sorted(expected.keys() | found.keys() - {"django_migrations"}):
            pair = [each.get(table, LockMode.AccessShareLock) for each in (found, expected)]
            if table == "django_migrations" or max(pair) < LockMode.ShareUpdateExclusiveLock:
                continue
            outcome = (
                "equal" if pair[0] == pair[1] else "missed" if pair[0] < pair[1] else "too many"
            )
            counts[outcome] += 1
            if outcome != "equal":
                names = [each.name for each in pair]
                print(f"  {outcome}: {label}, {table}: dry run {names[0]}, really {names[1]}")
    print(", ".join(f"{number} {name}" for name, number in counts.items()))
    return int(bool(counts["missed"] or counts["too many"]))


if __name__ == "__main__":
    main()
