"""``manage.py confiture_status``: how far a ``migrate`` is, from another shell."""

from __future__ import annotations

import json
import time
from argparse import ArgumentParser
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import psycopg
from django.core.management.base import BaseCommand
from django.db import Error, connections
from django.db.backends.base.base import BaseDatabaseWrapper

from django_confiture.database_errors import could_not_start, refuse_other_database
from django_confiture.formatting import one_line
from django_confiture.management.database_option import add_database_option
from django_confiture.migrate.known_forecasts import Key, KnownForecast, known_forecasts
from django_confiture.migrate.status.state import read_status
from django_confiture.migrate.status.text import as_line, as_text

_EVERY_S = 1.0
_CLEAR = "\x1b[H\x1b[J"


class Command(BaseCommand):
    """Print which migration runs, what it does, whom it waits for and who waits for it."""

    help = (
        "Tells how far a migrate is that runs in another shell: the migration, its statement, the "
        "progress of indexes and tables, whom it waits for, who waits for it, and what was "
        "forecast. It only reads. Exit codes: 0 told, also when nothing runs; 2 an "
        "argument is wrong, or the database is out of reach."
    )
    requires_system_checks = ()  # only the database matters here

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Add the database, the format, and whether to go on."""
        add_database_option(parser, "The database to look at")
        parser.add_argument("--format", choices=("text", "json"), default="text")
        parser.add_argument(
            "--watch",
            action="store_true",
            help=(
                "Look again every second, until Ctrl-C, also while the database does not answer; "
                "with JSON one object a line."
            ),
        )

    def handle(self, *_args: object, **options: Any) -> None:
        """Print the status once, or every second, whatever becomes of the server meanwhile."""
        connection = connections[options["database"]]
        refuse_other_database(connection, "confiture_status")
        with suppress(KeyboardInterrupt):
            with could_not_start(connection, "read the activity of"):
                forecasts = known_forecasts(connection.alias)
                self._write(self._look(connection, forecasts, options), options)
            while options["watch"]:
                time.sleep(_EVERY_S)
                try:
                    self._write(self._look(connection, forecasts, options), options)
                except (Error, psycopg.Error) as error:  # the server may be about to start again
                    connection.close()
                    self.stderr.write(as_line(f"{connection.alias}: no answer: {one_line(error)}"))

    def _look(
        self,
        connection: BaseDatabaseWrapper,
        forecasts: Mapping[Key, KnownForecast],
        options: Mapping[str, Any],
    ) -> str:
        connection.ensure_connection()
        status = read_status(connection.connection, connection.alias, forecasts)
        if options["format"] == "json":
            return json.dumps(status.as_json(), indent=None if options["watch"] else 2)
        return as_text(status)

    def _write(self, text: str, options: Mapping[str, Any]) -> None:
        clears = options["watch"] and options["format"] == "text" and self.stdout.isatty()
        self.stdout.write(f"{_CLEAR if clears else ''}{text}")
        self.stdout.flush()
