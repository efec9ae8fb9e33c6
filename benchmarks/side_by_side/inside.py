"""Shows every tool the same migrations, and writes what each found into a JSON file.

The migrations are those of ``tests/corpus`` (what is harmful in them was written down before they
were run) and of ``tests/support/release_cases`` (what breaks is what the old release's models could
no longer do after a real migration).
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest


@dataclass
class Seen:
    """One case, and what each tool found in it."""

    name: str
    kind: str
    """``hazard`` or ``release``."""
    harmful: bool
    found: dict[str, list[str]] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)


def main() -> None:
    """Compare all tools on all cases."""
    import django

    django.setup()
    import others
    from django.db import connection
    from django.test.runner import DiscoverRunner

    path, only = sys.argv[1:]
    runner = DiscoverRunner(verbosity=0, interactive=False)
    databases = runner.setup_databases()
    try:
        seen = [*hazards(only), *releases(only)]
        result = {
            "server": f"{connection.pg_version // 10000}.{connection.pg_version % 10000}",
            "django": django.get_version(),
            "tools": {
                "django-confiture": version("django-confiture"),
                **{name: version(package) for name, package in others.PACKAGES.items()},
            },
            "cases": [asdict(each) for each in seen],
        }
    finally:
        runner.teardown_databases(databases)
    Path(path).write_text(json.dumps(result, indent=1))


def timed(seen: Seen, tool: str, find: Callable[[], list[str]]) -> None:
    """Note what a tool finds, and how long it takes."""
    began = time.perf_counter()
    seen.found[tool] = find()
    seen.seconds[tool] = time.perf_counter() - began


def hazards(only: str) -> Iterator[Seen]:
    """Yield the cases of the corpus."""
    import others
    from django.core.management import call_command
    from django.db import connection
    from django.db.migrations.loader import MigrationLoader
    from django.test import override_settings

    from tests.corpus import CASES
    from tests.corpus.database import MIGRATIONS, dry_run, make_tables
    from tests.support.dry_run import migration

    with override_settings(MIGRATION_MODULES=MIGRATIONS):
        make_tables()
        state = MigrationLoader(connection).project_state(("cases", "0001_base"))
    for case in CASES:
        if only not in case.name:
            continue
        expected = {name for step in case.plan for name, _relation in step.expected}
        harmful = bool(case.fails) or any(map(others.is_harm, expected))
        seen = Seen(case.name, "hazard", harmful)
        steps = [
            migration(*step.operations, atomic=step.atomic, name=f"{number:04}_{case.name}")
            for number, step in enumerate(case.plan, 2)
        ]
        print(case.name, file=sys.stderr, flush=True)
        with override_settings(MIGRATION_MODULES=MIGRATIONS):
            others.look(seen, state, steps, timed)
            try:
                timed(seen, "django-confiture", lambda: others.of_report(dry_run(case)))  # noqa: B023
            except pytest.skip.Exception:
                continue
        yield seen
    with override_settings(MIGRATION_MODULES=MIGRATIONS):
        call_command("migrate", "cases", "zero", verbosity=0)


def releases(only: str) -> Iterator[Seen]:
    """Yield the cases of two releases that meet on one schema."""
    import others

    from tests.dry_run.running_code.test_corpus import claimed, first_state, truth
    from tests.support.release_cases import CASES

    for case in CASES.values():
        if only not in case.name:
            continue
        print(case.name, file=sys.stderr, flush=True)
        clean(case)
        really, _new = truth(case)
        seen = Seen(case.name, "release", bool(really))
        clean(case)
        timed(
            seen,
            "django-confiture",
            lambda: [f"{each.action} {each.model}" for each in claimed(case).old_code],  # noqa: B023
        )
        clean(case)
        others.look(seen, first_state(case), case.migrations(), timed)
        clean(case)
        yield seen


def clean(case: Any) -> None:
    """Drop what a case has made, whatever it came to."""
    from django.db import DatabaseError, connection

    from tests.support.dry_run import clean_up

    connection.close()
    if case.cleanup:
        with suppress(DatabaseError), connection.cursor() as cursor:
            cursor.execute(case.cleanup)
    clean_up("default")


if __name__ == "__main__":
    main()
