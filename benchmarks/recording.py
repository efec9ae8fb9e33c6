"""What recording costs: a dry run of wagtail's whole history, with and without."""

from __future__ import annotations

import os
import statistics
import sys
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from time import perf_counter

ROUNDS = 7


def main() -> None:
    sys.path.insert(0, str(Path(__file__).parent))
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "wagtail_settings")
    import django

    django.setup()
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute("DROP SCHEMA public CASCADE; CREATE SCHEMA public")
    times: dict[bool, list[float]] = {False: [], True: []}
    for number in range(ROUNDS * 2):
        recorded = bool(number % 2)
        times[recorded].append(dry_run(recorded=recorded))
    without, recorded_s = (statistics.median(times[each]) for each in (False, True))
    print(f"without {without:.2f} s, recorded {recorded_s:.2f} s, ratio {recorded_s / without:.3f}")


def dry_run(*, recorded: bool) -> float:
    """Return the seconds that one dry run takes."""
    from django.db import connections

    from django_confiture.dry_run.interception.interceptor import Interceptor
    from django_confiture.dry_run.migrate import migrate_with
    from django_confiture.dry_run.migration_executor import RehearsalExecutor
    from django_confiture.dry_run.transaction_rehearsal import transaction_rehearsal

    installed = Interceptor.installed
    if not recorded:
        Interceptor.installed = lambda _self: nullcontext()  # type: ignore[assignment, method-assign]
    try:
        rehearsal = transaction_rehearsal(connections["default"])
        started = perf_counter()
        with rehearsal.open():
            migrate_with(partial(RehearsalExecutor, rehearsal), using="default")
        return perf_counter() - started
    finally:
        Interceptor.installed = installed  # type: ignore[method-assign]


if __name__ == "__main__":
    main()
