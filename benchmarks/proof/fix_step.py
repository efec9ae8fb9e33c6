"""One more step of the proof: what ``confiture_fix`` makes of each migration that is pending.

Each is fixed on its own, then the original is migrated, so that the next one is pending.
"""

from __future__ import annotations

import inspect
import time
from pathlib import Path
from typing import Any

OUTCOMES = ("fixed", "kept", "refused")


def fixes(package: str) -> dict[str, Any]:
    """Return what becomes of the pending migrations of a package, one after the other.

    The package is in the working directory.
    """
    from django.db import connection
    from django.db.migrations.executor import MigrationExecutor

    executor = MigrationExecutor(connection)
    plan = executor.migration_plan(executor.loader.graph.leaf_nodes())
    found = []
    for migration, _backwards in plan:
        if Path(inspect.getfile(type(migration))).is_relative_to(Path(package).resolve()):
            found.append(fixed(migration))
        _migrate(migration)
    return {"fixes": found}


def fixed(migration: Any) -> dict[str, Any]:
    """Return what becomes of one: of each operation, and whether all proofs hold."""
    from django.db import connections

    from django_confiture.fix.fixing import fix_migration
    from django_confiture.fix.judging.obstacles import AppliedElsewhere

    key = (migration.app_label, migration.name)
    began = time.perf_counter()
    tried = [
        fix_migration(connections["default"], key, elsewhere=AppliedElsewhere(), releases=releases)
        for releases in (1, 2)
    ]
    return {
        "migration": ".".join(key),
        "seconds": time.perf_counter() - began,
        "proofs": [each.proof.holds for each in tried if each.proof is not None],
        "differences": [
            line for each in tried if each.proof is not None for line in each.proof.differences
        ],
        "operations": [
            {
                "description": one.description,
                "finding": one.finding,
                "outcomes": [one.outcome, two.outcome],
                "reasons": [one.reason, two.reason],
            }
            for one, two in zip(tried[0].operations, tried[1].operations, strict=True)
        ],
    }


def _migrate(migration: Any) -> None:
    from django.db import connection
    from django.db.migrations.executor import MigrationExecutor

    executor: Any = MigrationExecutor(connection)
    plan = executor.migration_plan([(migration.app_label, migration.name)])
    state = executor._create_project_state(with_applied_migrations=True)
    executor.migrate(None, plan=plan, state=state)
