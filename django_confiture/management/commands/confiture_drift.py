"""``manage.py confiture_drift``: whether the schema is the one that the applied migrations say."""

from __future__ import annotations

import json
from argparse import ArgumentParser
from collections.abc import Sequence
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.migrations.loader import MigrationLoader

from django_confiture import conf
from django_confiture.database_errors import could_not_start, refuse_other_database
from django_confiture.dry_run.results.drift import Difference
from django_confiture.dry_run.schema_check.check import SchemaCheck, check_schema
from django_confiture.dry_run.server.side_channel import Session
from django_confiture.dry_run.settings import dry_run_settings
from django_confiture.formatting import count, one_line
from django_confiture.management.database_option import add_database_option
from django_confiture.management.exit_codes import FAILED, USAGE
from django_confiture.management.reserved_stdout import reserved_stdout
from django_confiture.migration_files import loading_migrations
from django_confiture.silencing import COMPLETED_BY


class Command(BaseCommand):
    """Compare the schema of a database with the models of its applied migrations."""

    help = (
        "Compares the tables of a database with those that the models would make, as the applied "
        "migrations describe them: columns, indexes and constraints. It makes the models' tables "
        "as temporary ones in a transaction that is rolled back, and locks no table of yours. "
        "Exit codes: 0 equal, 1 different, 2 could not start."
    )

    requires_system_checks = ()  # it reads the database alone

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Add the database and the format."""
        add_database_option(parser, "The database to look at")
        parser.add_argument("--format", choices=("text", "json"), default="text")

    @loading_migrations()
    def handle(self, *_args: object, **options: Any) -> None:
        """Compare, print, and exit with 1 where they differ."""
        wrapper = connections[options["database"]]
        try:
            with reserved_stdout():
                check = _checked(wrapper)
        except conf.SettingError as error:
            raise CommandError(one_line(error), returncode=USAGE) from error
        to_come = _completing(wrapper) if check.differences else []
        if options["format"] == "json":
            self.stdout.write(_as_json(wrapper, check, to_come))
        else:
            for line in _as_text(wrapper.alias, check, to_come):
                self.stdout.write(line)
        if check.differences:
            raise SystemExit(FAILED)


def _checked(wrapper: BaseDatabaseWrapper) -> SchemaCheck:
    refuse_other_database(wrapper, "confiture_drift")
    with could_not_start(wrapper, "read the schema of"):
        wrapper.ensure_connection()
        loader = MigrationLoader(wrapper)
        applied = [key for key in loader.applied_migrations if key in loader.graph.nodes]
        apps = loader.project_state(applied).apps
        session = Session(wrapper.connection)
        with session.undone():
            _limit_waits(session)
            return check_schema(session, wrapper, apps, unmigrated=loader.unmigrated_apps)


def _completing(wrapper: BaseDatabaseWrapper) -> list[str]:
    """Return the migrations of the next release until which applied ones leave a difference."""
    loader = MigrationLoader(wrapper)
    known = loader.disk_migrations
    named = [
        (app_label, getattr(known[app_label, name], COMPLETED_BY, None))
        for app_label, name in loader.applied_migrations
        if (app_label, name) in known
    ]
    to_come = [each for each in named if each[1] and each not in loader.applied_migrations]
    return sorted({f"{app_label}.{name}" for app_label, name in to_come})


def _limit_waits(session: Session) -> None:
    """Wait for a lock that a migration holds only as long as a dry run would."""
    timeout = dry_run_settings().timeouts.get("lock_timeout")
    if timeout is not None:
        session.query("SELECT set_config('lock_timeout', $1, true)", [timeout])


def _as_json(wrapper: BaseDatabaseWrapper, check: SchemaCheck, to_come: Sequence[str]) -> str:
    document: dict[str, object] = {
        "database": wrapper.alias,
        "differences": [_as_document(each) for each in check.differences],
    }
    if check.not_compared:
        document["not_compared"] = dict(check.not_compared)
    if to_come:
        document["completed_by"] = list(to_come)
    return json.dumps(document, indent=2)


def _as_document(difference: Difference) -> dict[str, object]:
    return {
        "object": difference.object,
        "table": difference.table,
        "name": difference.name,
        "database": difference.database,
        "models": difference.models,
    }


def _as_text(alias: str, check: SchemaCheck, to_come: Sequence[str]) -> list[str]:
    lines = [
        f"{count(len(check.differences), 'difference')} between {alias!r} and the models of its "
        "applied migrations."
        if check.differences
        else f"{alias!r} matches the models of its applied migrations."
    ]
    lines += [f"  {each.sentence}" for each in check.differences]
    lines += [
        f"  {each} waits for the next release: what is different until then may be among these."
        for each in to_come
    ]
    lines += [
        f"  Not compared: {table}, as {reason}." for table, reason in check.not_compared.items()
    ]
    return lines
