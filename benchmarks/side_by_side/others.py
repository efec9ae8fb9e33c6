"""The other tools, each asked in the way that its documentation recommends.

What counts as found: anything above a tool's informational level. Rules of taste are switched off
where they would call every migration wrong (squawk's ``prefer-*`` and its rules that every script
sets timeouts and says IF EXISTS).
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from django.db import connection, transaction
from django.db.migrations import Migration
from django.db.migrations.state import ProjectState

PACKAGES = {
    "django-migration-linter": "django-migration-linter",
    "squawk on sqlmigrate": "squawk-cli",
    "django-safe-migrations": "django-safe-migrations",
    "django-pg-zero-downtime-migrations": "django-pg-zero-downtime-migrations",
}
_TASTE = (
    "prefer-bigint-over-int,prefer-bigint-over-smallint,prefer-identity,prefer-robust-stmts,"
    "prefer-text-field,prefer-timestamp-tz,require-timeout-settings,require-lock-timeout,"
    "require-statement-timeout"
)

Steps = Sequence[tuple[Migration, ProjectState]]
"""Each migration of a case, and the state before it."""


def is_harm(finding: str) -> bool:
    """Return whether a finding of ours is more than a notice."""
    from django_confiture.finding_ids import SEVERITIES

    return SEVERITIES[finding] != "notice"


def of_report(report: Any) -> list[str]:
    """Return what a dry run found above a notice."""
    return [
        *(each.error.type for each in report.migrations if each.error),
        *(
            f"{found.id} {found.relation}"
            for each in report.migrations
            for found in each.findings
            if found.severity != "notice"
        ),
    ]


def look(seen: Any, state: ProjectState, migrations: Sequence[Migration], timed: Callable) -> None:
    """Have each tool look at a case."""
    steps = []
    for each in migrations:
        steps.append((each, state))
        state = each.mutate_state(state, preserve=True)
    timed(seen, "django-migration-linter", lambda: _linter(steps))
    timed(seen, "squawk on sqlmigrate", lambda: _squawk(steps))
    timed(seen, "django-safe-migrations", lambda: _safe(steps))
    timed(seen, "django-pg-zero-downtime-migrations", lambda: _zero_downtime(steps))


def sql_of(migration: Migration, state: ProjectState, engine: Any = None) -> list[str]:
    """Return what ``sqlmigrate`` prints, or nothing where it fails."""
    make = engine or connection.SchemaEditorClass
    try:
        with transaction.atomic(), make(connection, collect_sql=True, atomic=False) as editor:
            migration.apply(state.clone(), editor, collect_sql=True)
            lines = [*editor.collected_sql, *map(str, editor.deferred_sql)]
    except Exception as error:
        if type(error).__name__ == "UnsafeOperationException":
            raise
        return []
    return ["BEGIN;", *lines, "COMMIT;"] if migration.atomic else lines


def _linter(steps: Steps) -> list[str]:
    from django_migration_linter import MigrationLinter

    class OfAState(MigrationLinter):
        """Gets its SQL from a state instead of from files."""

        lines: list[str] = []  # noqa: RUF012

        def get_sql(self, app_label: str, migration_name: str) -> list[str]:
            return self.lines

        @staticmethod
        def get_migration_hash(app_label: str, migration_name: str) -> str:
            return ""

    linter = OfAState(no_cache=True, no_output=True)
    for migration, state in steps:
        linter.lines = "\n".join(sql_of(migration, state)).splitlines()
        linter.lint_migration(migration)
    return ["error"] * linter.nb_erroneous + ["warning"] * linter.nb_warnings


def _squawk(steps: Steps) -> list[str]:
    program = Path(sys.executable).parent / "squawk"
    with tempfile.TemporaryDirectory() as home:
        paths = []
        for migration, state in steps:
            path = Path(home) / f"{migration.name}.sql"
            path.write_text("\n".join(sql_of(migration, state)))
            paths.append(path)
        command = [program, "--reporter", "json", "--exclude", _TASTE, "--pg-version", "18", *paths]
        done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode not in (0, 1):  # 1: it has found something
        raise RuntimeError(done.stderr)
    return [each["rule_name"] for each in json.loads(done.stdout)]


class _Loader:
    """What django-safe-migrations asks of a MigrationLoader, for migrations without files."""

    def __init__(self, migration: Migration, state: ProjectState) -> None:
        key = migration.app_label, migration.name
        self.disk_migrations = {key: migration}
        self.graph = self
        self.nodes = self.disk_migrations
        self._state = state

    def project_state(self, *_arguments: Any, **_options: Any) -> ProjectState:
        return self._state.clone()


def _safe(steps: Steps) -> list[str]:
    from django_safe_migrations.analyzer import MigrationAnalyzer
    from django_safe_migrations.rules.base import Severity

    analyzer = MigrationAnalyzer(db_vendor="postgresql")
    return [
        issue.rule_id
        for migration, state in steps
        for issue in analyzer.analyze_migration(migration, loader=_Loader(migration, state))
        if issue.severity is not Severity.INFO
    ]


@cache
def _editor() -> Any:
    from django.conf import settings
    from django_zero_downtime_migrations.backends.postgres import schema

    settings.ZERO_DOWNTIME_MIGRATIONS_RAISE_FOR_UNSAFE = True
    return schema.DatabaseSchemaEditor


def _zero_downtime(steps: Steps) -> list[str]:
    """Return what it refuses, or does in another way than Django."""
    found = []
    for migration, state in steps:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                own = sql_of(migration, state, _editor())
        except Exception as error:  # noqa: BLE001 - its own class, which needs an import
            found.append(f"{type(error).__name__}: {error}".splitlines()[0])
            continue
        plain = {line.strip() for line in sql_of(migration, state)}
        other = [line for line in own if line.strip() not in plain and "timeout" not in line]
        found += [line for line in other if not line.startswith(("--", "BEGIN", "COMMIT"))]
    return found
