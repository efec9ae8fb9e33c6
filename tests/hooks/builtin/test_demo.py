"""Every shipped hook around the demo's migrations: ``testproject/config/shipped_hooks.py``."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator

import pytest
from psycopg.conninfo import make_conninfo

from config import shipped_hooks
from django_confiture.hooks.shipped import SHIPPED
from tests.support.clone import alone, create, drop
from tests.support.dry_run import parameters
from tests.support.paths import ROOT

Manage = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def manage(both_databases: None) -> Iterator[Manage]:
    """Run ``manage.py`` with these settings on a database of the test's own."""
    own = parameters()
    own["dbname"] = f"{own['dbname']}_shipped"
    environment = {
        **os.environ,
        "DJANGO_SETTINGS_MODULE": "config.shipped_hooks",
        "DATABASE_URL": make_conninfo(**own),
    }

    def run(*args: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "testproject/manage.py", *args],
            env=environment,
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )

    with alone():
        create(own["dbname"])
        yield run
        drop(own["dbname"])


def test_the_settings_have_every_shipped_hook_but_the_one_that_needs_backups() -> None:
    phases = shipped_hooks.CONFITURE["PHASES"].values()
    assert {each["HOOK"] for listed in phases for each in listed} == {*SHIPPED} - {"require_backup"}


def test_the_shop_migrates_with_all_of_them(manage: Manage) -> None:
    apps = ("contenttypes", "auth", "confiture_history", "confiture_backfills")
    for target in (*((app,) for app in apps), ("shop", "0001")):
        done = manage("migrate", *target)
        assert done.returncode == 0, done.stderr
    assert manage("load_shop", "--orders", "1000").returncode == 0

    refused = manage("migrate")
    assert refused.returncode == 1
    assert (
        "No dry run of 'default' has rehearsed shop.0002_order_search_text. Run manage.py "
        "migrate_dryrun for this plan, then migrate again." in refused.stderr
    )

    rehearsed = manage("migrate_dryrun")
    assert rehearsed.returncode == 0, rehearsed.stdout + rehearsed.stderr
    done = manage("migrate")
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("\nTo: ops@example.com") == 9
    assert "\nmigration: shop.0010_orderline_pick_number_index_concurrently\n" in done.stdout
