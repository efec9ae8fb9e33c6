#!/usr/bin/env python
"""Dry-run the shop's pending migrations on a database with real volume: ``make demo``."""

import argparse
import os
import sys
from pathlib import Path

import django
from django.core.management import CommandError, call_command, execute_from_command_line
from django.db import connection, connections

from shop.management.commands.load_shop import BASE_MIGRATION, refuse_foreign_database

PAGE = Path(__file__).parent / "dryrun.html"
"""The report to look at in a browser."""


def _heading(text: str) -> None:
    sys.stdout.write(f"\n== {text}\n")
    sys.stdout.flush()


def _bring_to_base() -> None:
    """Apply the base migrations, and unapply the shop's later ones if they are applied."""
    for target in (["confiture_history"], ["contenttypes"], ["auth"], ["shop", BASE_MIGRATION]):
        call_command("migrate", *target, verbosity=0)


def _load(orders: int) -> None:
    """Load the shop unless it has that many orders already."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM shop_order")
        if cursor.fetchone() != (orders,):
            call_command("load_shop", orders=orders)
            return
        sys.stdout.write(f"It has {orders} orders already.\n")
        # What the last dry run rolled back left dead rows, which this run would measure too.
        cursor.execute("VACUUM (ANALYZE)")


def main() -> None:
    """Prepare the database, dry-run the pending migrations and exit with that command's code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--orders", type=int, default=200_000, metavar="N")
    orders = parser.parse_args().orders
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
    django.setup()

    try:
        refuse_foreign_database()
        _heading(f"Bring the shop to its base, {BASE_MIGRATION}")
        _bring_to_base()
        _heading("Load it")
        _load(orders)
    except CommandError as error:
        parser.error(str(error))
    connections.close_all()
    _heading("Dry-run the pending migrations: manage.py migrate_dryrun --report html=...")
    execute_from_command_line(["manage.py", "migrate_dryrun", "--report", f"html={PAGE}"])
    sys.stdout.write(f"\nThe same as a page, with a timeline of the locks: {PAGE.as_uri()}\n")


if __name__ == "__main__":
    main()
