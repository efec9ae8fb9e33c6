"""Each format of the shop's dry run, against a file; ``SNAPSHOTS=write`` rewrites them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import fields, is_dataclass, replace
from pathlib import Path
from typing import Any

import django
import pytest
from django.core.management import call_command
from django.db import connection
from django.test.utils import override_settings
from pytest_django import DjangoDbBlocker as Blocker

from django_confiture import signals
from django_confiture.dry_run.results import Database, Report, Scan, SequenceMove
from django_confiture.reports import FORMATS, render
from tests.management.test_migrate_dryrun import dry_run
from tests.support.report_cases import normalized

SNAPSHOTS = Path(__file__).parent / "snapshots"
SUFFIXES = {"json": "json", "gitlab": "json", "sarif": "json", "markdown": "md", "html": "html"}


MADE_WITH = 18
"""PostgreSQL's major version: others count a little differently."""
MADE_WITH_DJANGO = "5.2"
"""Newer ones send other statements when they save a row, and write ``elidable``."""


@pytest.fixture(scope="module")
def report(both_databases: None, django_db_blocker: Blocker) -> Iterator[Report]:
    """Dry-run what is pending of a small shop, once."""
    reports: list[Report] = []

    def receiver(*, report: Report, **_: object) -> None:
        reports.append(report)

    signals.dry_run_finished.connect(receiver)
    with django_db_blocker.unblock(), override_settings(CONFITURE=SETTINGS):
        call_command("migrate", "shop", "0001", verbosity=0)
        try:
            call_command("load_shop", orders=20_000, verbosity=0)
            assert dry_run("shop").code == 3
        finally:
            signals.dry_run_finished.disconnect(receiver)
            with connection.cursor() as cursor:
                cursor.execute("TRUNCATE shop_customer, shop_product, shop_order, shop_orderline")
            call_command("migrate", "shop", verbosity=0)
        yield reports[0]


SETTINGS: dict[str, Any] = {
    "HOOKS": {"backfill_customer_lifetime_value": "shop.hooks.BackfillCustomerLifetimeValue"},
    "DRY_RUN": {"FAIL_ON": "danger", "TABLES": {"shop_product": "0ms"}},
}


# Django's receivers write what other tests may have left there.
STEADY: dict[str, Any] = {
    "commit_ms": 0.0,
    "estimate": None,
    "preflight": None,
    "receivers": (),
    "server_version": "18.0",
}


def steadied(value: Any) -> Any:
    """Return results without what differs from run to run and from server to server."""
    if is_dataclass(value) and not isinstance(value, type):
        found = {each.name: steadied(getattr(value, each.name)) for each in fields(value)}
        found |= {name: STEADY[name] for name in found.keys() & STEADY.keys()}
        if found.get("wal_bytes") is not None:
            found["wal_bytes"] = 1
        found |= {name: 1024**2 for name in found if name.endswith("_bytes") and found[name]}
        if isinstance(value, Database):
            found["name"] = "shop"
        if isinstance(value, SequenceMove):
            found |= {"database": "shop", "before": 1, "after": 2}
        return replace(value, **found)
    if isinstance(value, tuple):
        # Hint bits and full pages make the volume of WAL differ.
        parts = [steadied(each) for each in value if not str(each).endswith(" of WAL")]
        # Scans, and the evidence of them, come in the order of the tables' OIDs.
        return tuple(
            sorted(parts, key=str) if value and isinstance(value[0], Scan | str) else parts
        )
    if isinstance(value, float):
        return 100.0 if value else 0.0
    return normalized(value) if isinstance(value, str) else value


@pytest.mark.parametrize("output_format", FORMATS)
def test_the_shops_report(report: Report, output_format: str) -> None:
    if not report.database.server_version.startswith(f"{MADE_WITH}."):
        pytest.skip(f"made with PostgreSQL {MADE_WITH}: what it counts differs")
    if not django.__version__.startswith(f"{MADE_WITH_DJANGO}."):
        pytest.skip(f"made with Django {MADE_WITH_DJANGO}: the statements of its ORM differ")
    path = SNAPSHOTS / f"{output_format}.{SUFFIXES.get(output_format, 'txt')}"
    found = render(steadied(report), output_format)

    if os.environ.get("SNAPSHOTS") == "write":
        path.parent.mkdir(exist_ok=True)
        path.write_text(found)
    assert found == path.read_text(), "as meant? SNAPSHOTS=write pytest " + __file__
