"""``manage.py confiture_stats``: write sizes and rates of production to a file, for forecasts."""

from __future__ import annotations

from argparse import ArgumentParser, ArgumentTypeError
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import connections

from django_confiture.dry_run.sql.texts.query_texts import without_values
from django_confiture.duration_argument import duration_like
from django_confiture.exceptions import StatsError
from django_confiture.management.database_option import add_database_option
from django_confiture.management.exit_codes import USAGE
from django_confiture.production import collect
from django_confiture.production.collect import ReadQueries
from django_confiture.production.frequent_queries import frequent_queries

_MOST_QUERIES = 10_000


class Command(BaseCommand):
    """Write the sizes, settings and rates of a database."""

    help = (
        "Writes the sizes of all tables and indexes, how often they are read and written, and the "
        "settings that matter for forecasts, as JSON. Run it on production: it reads catalogs and "
        "counters only, in a read-only transaction of milliseconds, and no row of any table. "
        "Exit codes: 0 done, 2 an argument is wrong, or the database is out of reach."
    )
    requires_system_checks = ()  # only the database matters here

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Add the database, the window and the file."""
        add_database_option(parser, "The database to look at")
        parser.add_argument(
            "--interval",
            type=duration_like("10s"),
            default=timedelta(0),
            help="Measure reads and writes a second over this time, such as 10s; 0, the default, "
            "takes what was counted since the last reset of the statistics.",
        )
        parser.add_argument(
            "--queries",
            type=_count,
            metavar="N",
            help="Add the N most frequent statements, without their values and comments; the dry "
            "run prepares them on the schema before and after. Needs pg_stat_statements.",
        )
        parser.add_argument("--output", type=Path, help="Write to this file instead of stdout.")

    def handle(self, *_args: object, **options: Any) -> None:
        """Collect, then write."""
        output = None if options["output"] is None else Path(options["output"])
        try:
            stats = collect(
                connections[options["database"]],
                interval=options["interval"],
                read_queries=_reader(options["queries"]),
            )
        except StatsError as error:
            raise CommandError(str(error), returncode=USAGE) from error
        if stats.window_seconds is None and options["verbosity"] >= 1:
            self.stderr.write(
                "Reads and writes a second are unknown, as PostgreSQL doesn't say since when it "
                "counts. Measure them with --interval 10s.",
                str,
            )
        if output is None:
            self.stdout.write(stats.to_json(), ending="")
            return
        try:
            output.write_text(stats.to_json(), encoding="utf-8")
        except OSError as error:
            raise CommandError(
                f"Cannot write {output}: {error.strerror}", returncode=USAGE
            ) from error
        if options["verbosity"] >= 1:
            self.stderr.write(f"Statistics of {stats.database} written to {output}.", str)


def _reader(count: int | None) -> ReadQueries | None:
    if count is None:
        return None
    return partial(frequent_queries, count=count, clean=without_values)


def _count(value: str) -> int:
    if not value.isdecimal() or not 0 < int(value) <= _MOST_QUERIES:
        raise ArgumentTypeError(f"{value!r} is not a number from 1 to {_MOST_QUERIES}")
    return int(value)
