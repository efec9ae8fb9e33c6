"""One step of the proof, in a process of the project: prepare, dry, real or fixes.

Writes what it found into the file that is its first argument.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from io import StringIO
from pathlib import Path
from typing import Any

import old_release
import snapshot
from fix_step import fixes
from made_up_rows import fill
from real_run import observed


def main() -> None:
    """Run the step that the command line names."""
    import django

    path, step, *arguments = sys.argv[1:]
    django.setup()
    steps: dict[str, Callable[..., dict[str, Any]]] = {
        "prepare": prepare,
        "dry": dry,
        "real": real,
        "fixes": fixes,
    }
    Path(path).write_text(json.dumps(steps[step](*arguments), default=str))


def prepare(start: str, rows: str) -> dict[str, Any]:
    """Apply the first part of the history, and fill the tables."""
    from django.core.management.sql import emit_pre_migrate_signal
    from django.db import connection
    from django.db.migrations.executor import MigrationExecutor

    executor: Any = MigrationExecutor(connection)
    plan = executor.migration_plan(executor.loader.graph.leaf_nodes())
    first = plan[: int(len(plan) * float(start))]
    state = executor._create_project_state(with_applied_migrations=True)
    emit_pre_migrate_signal(0, interactive=False, db="default", apps=state.apps, plan=first)
    executor.migrate(None, plan=first, state=state)
    filled, tables = fill(connection, int(rows))
    return {
        "applied": len(first),
        "pending": len(plan) - len(first),
        "filled": filled,
        "tables": tables,
        "server": connection.pg_version,
        "django": django_version(),
    }


def django_version() -> str:
    """Return the version of Django that runs here."""
    import django

    return django.get_version()


def dry(*_arguments: str) -> dict[str, Any]:
    """Run the rest dry; return the report, and the database as it was right before the rollback."""
    from django.core.management import call_command

    out = StringIO()
    began = time.perf_counter()
    with snapshot.at_the_end() as taken, suppress(SystemExit):
        options = {"format": "json", "skip_checks": True}
        call_command("migrate_dryrun", **options, stdout=out, stderr=StringIO())
    return {
        "report": json.loads(out.getvalue()),
        "seconds": time.perf_counter() - began,
        **taken,
    }


def real(*_arguments: str) -> dict[str, Any]:
    """Migrate for good; return locks, durations, the database, and what the old release can do.

    That is tried after each migration. At the end, the database is compared with the models.
    """
    from django.core.management import call_command
    from django.db import connection

    releases = old_release.Releases(connection)
    before = {"old": releases.try_old(), "new": releases.try_new()}
    after: dict[str, old_release.Tried] = {}
    error = ""
    tried = 0.0

    def try_old(migration: str) -> None:
        nonlocal tried
        began = time.perf_counter()
        after[migration] = releases.try_old()
        tried += time.perf_counter() - began

    began = time.perf_counter()
    with snapshot.at_the_end() as taken, observed(connection, try_old) as seen:
        try:
            call_command("migrate", verbosity=0, interactive=False, skip_checks=True)
        except Exception as failure:  # noqa: BLE001  (whatever it is, it is the result)
            error = f"{type(failure).__name__}: {failure}"
    return {
        "error": error,
        "failed_at": next(reversed(seen["durations"]), None),
        "seconds": time.perf_counter() - began - tried,
        "before": before,
        "after": after,
        "labels": releases.labels(),
        "drift": [] if error else drift(),
        **seen,
        **taken,
    }


def drift() -> list[dict[str, Any]]:
    """Return what ``confiture_drift`` says of the database now."""
    from django.core.management import call_command

    out = StringIO()
    with suppress(SystemExit):
        call_command("confiture_drift", format="json", stdout=out)
    found: list[dict[str, Any]] = json.loads(out.getvalue())["differences"]
    return found


if __name__ == "__main__":
    main()
