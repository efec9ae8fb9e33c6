"""What trying two releases costs: a dry run of the second half of a history, with and without.

Settings are wagtail's, unless ``DJANGO_SETTINGS_MODULE=oscar_settings`` or others are given.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from time import perf_counter, process_time
from typing import Any


@dataclass(frozen=True)
class Cost:
    """What one dry run took."""

    wall_s: float
    cpu_s: float
    round_trips: int


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    sys.path.insert(0, str(Path(__file__).parent))
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "wagtail_settings")
    import django

    django.setup()
    left = migrate_half()
    found: dict[bool, list[Cost]] = {False: [], True: []}
    for number in range(rounds * 2):
        running_code = bool(number % 2)
        found[running_code].append(dry_run(running_code=running_code))
    print(f"{left} migrations, medians of {rounds}")
    for name in ("wall_s", "cpu_s", "round_trips"):
        without, checked = (
            statistics.median(getattr(cost, name) for cost in found[each]) for each in (False, True)
        )
        print(f"{name}: without {without:.2f}, with {checked:.2f}, ratio {checked / without:.3f}")


def migrate_half() -> int:
    """Apply the first half of the plan in an empty schema; return how many are left."""
    from django.db import connection
    from django.db.migrations.executor import MigrationExecutor

    with connection.cursor() as cursor:
        cursor.execute("DROP SCHEMA public CASCADE; CREATE SCHEMA public")
    executor = MigrationExecutor(connection)
    plan = executor.migration_plan(executor.loader.graph.leaf_nodes())
    half = plan[: len(plan) // 2]
    executor.migrate([], plan=half, state=executor._create_project_state())
    return len(plan) - len(half)


def dry_run(*, running_code: bool) -> Cost:
    """Return what one dry run of the rest takes."""
    from django.db import connections

    from django_confiture.dry_run.migrate import migrate_with
    from django_confiture.dry_run.migration_executor import RehearsalExecutor
    from django_confiture.dry_run.transaction_rehearsal import transaction_rehearsal

    wrapper: Any = connections["default"]
    wrapper.ensure_connection()
    pgconn = wrapper.connection.pgconn
    with tempfile.TemporaryFile() as trace:
        pgconn.trace(trace.fileno())
        rehearsal = transaction_rehearsal(wrapper, running_code=running_code)
        started, cpu = perf_counter(), process_time()
        with rehearsal.open():
            migrate_with(partial(RehearsalExecutor, rehearsal), using="default")
        cost = perf_counter() - started, process_time() - cpu
        pgconn.untrace()
        trace.seek(0)
        trips = sum(b"\tReadyForQuery\t" in line for line in trace)
    wrapper.close()
    return Cost(*cost, trips)


if __name__ == "__main__":
    main()
