"""``manage.py confiture_fix``: a pending migration, rewritten so that others can work, proven."""

from __future__ import annotations

import json
from argparse import ArgumentParser
from collections.abc import Iterator
from typing import Any

import psycopg
from django.core.exceptions import ImproperlyConfigured
from django.core.management.base import BaseCommand, CommandError
from django.db import Error, connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.migrations.loader import AmbiguityError, MigrationLoader

from django_confiture.exceptions import DryRunRefused
from django_confiture.fix.fixing import fix_migration
from django_confiture.fix.obstacles import migration_file
from django_confiture.fix.outcomes import Fix, Proof
from django_confiture.fix.writing import WouldOverwrite, write_files
from django_confiture.formatting import duration, listed, one_line
from django_confiture.management.broken_migrations import BROKEN_MIGRATIONS
from django_confiture.management.database_option import add_database_option
from django_confiture.management.exit_codes import FAILED, UNPROVEN, USAGE


class Command(BaseCommand):
    """Rewrite a pending migration into files that block no one for long, and prove it."""

    help = (
        "Rewrites a pending migration into several files that let others read and write while "
        "they run; the last keeps its name. It proves them by two rehearsals, both rolled back: "
        "schema, models and rows are as with the original. Without --write it prints the files. "
        "Exit codes: 0 fixed and proven, 1 nothing could be fixed, 2 could not start, 5 the proof "
        "failed, so nothing is written."
    )

    requires_system_checks = ()  # it reads the migrations and the database

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Add the migration, and what to do with the files."""
        parser.add_argument("app_label")
        parser.add_argument("migration", help="Its name, or the beginning of it.")
        parser.add_argument("--write", action="store_true", help="Write the files.")
        parser.add_argument("--format", choices=("text", "json"), default="text")
        parser.add_argument(
            "--releases",
            type=int,
            choices=(1, 2),
            default=1,
            help="2: spread what the running release can't live with over two releases; the last "
            "file is for the next one.",
        )
        add_database_option(parser, "The database to rehearse on")
        parser.add_argument(
            "--applied-elsewhere",
            action="store_true",
            help="A database that this project does not name has applied it: then no file may "
            "come before it.",
        )

    def handle(self, *_args: object, **options: Any) -> None:
        """Fix, print, write, and exit with 1 or 5 where there is nothing to write."""
        wrapper = connections[options["database"]]
        try:
            key, loader = _chosen(wrapper, options["app_label"], options["migration"])
            fix = fix_migration(
                wrapper,
                key,
                applied_elsewhere=options["applied_elsewhere"],
                releases=options["releases"],
            )
            code = _exit_code(fix)
            if options["write"] and code == 0:
                directory = migration_file(loader.disk_migrations[key]).parent
                write_files(directory, fix.files)
        except (DryRunRefused, ImproperlyConfigured, WouldOverwrite, *BROKEN_MIGRATIONS) as error:
            raise CommandError(one_line(error), returncode=USAGE) from error
        except (Error, psycopg.Error) as error:
            raise CommandError(
                f"{wrapper.alias!r} ended it: {one_line(error)}", returncode=USAGE
            ) from error
        if options["format"] == "json":
            self.stdout.write(json.dumps(_document(fix), indent=2))
        else:
            for line in _lines(fix, written=options["write"] and code == 0):
                self.stdout.write(line)
        if code:
            raise SystemExit(code)


def _chosen(
    wrapper: BaseDatabaseWrapper, app_label: str, prefix: str
) -> tuple[tuple[str, str], MigrationLoader]:
    if wrapper.vendor != "postgresql":
        raise CommandError(
            f"{wrapper.alias!r} is {wrapper.display_name}; confiture_fix needs PostgreSQL. "
            "Choose another alias with --database.",
            returncode=USAGE,
        )
    loader = MigrationLoader(wrapper)
    try:
        found = loader.get_migration_by_prefix(app_label, prefix)
    except AmbiguityError as error:
        raise CommandError(f"{error} Give more of its name.", returncode=USAGE) from error
    except KeyError as error:
        raise CommandError(
            f"The app {app_label!r} has no migration {prefix!r}; showmigrations lists them.",
            returncode=USAGE,
        ) from error
    return (found.app_label, found.name), loader


def _exit_code(fix: Fix) -> int:
    if fix.proof is None:
        return FAILED
    return 0 if fix.proof.holds else UNPROVEN


def _document(fix: Fix) -> dict[str, object]:
    return {
        "migration": fix.migration,
        "operations": [
            {
                "index": each.index,
                "description": each.description,
                "finding": each.finding,
                "outcome": each.outcome,
                "reason": each.reason,
            }
            for each in fix.operations
        ],
        "files": [{"name": each.name, "source": each.source} for each in fix.files],
        "proof": None if fix.proof is None else _proof_document(fix.proof),
    }


def _proof_document(proof: Proof) -> dict[str, object]:
    keys = (
        "schema_equal", "state_equal", "rows_equal", "dangers_before", "dangers_after",
        "blocked_ms_before", "blocked_ms_after", "running_code_breaks_after", "reversible",
    )  # fmt: skip
    document = {key: getattr(proof, key) for key in keys}
    lists = ("not_compared", "differences")
    return {**document, **{key: list(getattr(proof, key)) for key in lists}}


def _lines(fix: Fix, *, written: bool) -> Iterator[str]:
    yield fix.migration
    for each in fix.operations:
        about = f" ({each.finding})" if each.finding else ""
        yield f"  {each.outcome:8} {each.index + 1}. {each.description}{about}"
        if each.reason:
            yield f"           {each.reason}"
    if fix.proof is None:
        yield "Nothing could be fixed."
        return
    yield from _proof_lines(fix.proof)
    if not fix.proof.holds:
        yield "The proof failed, so nothing is written. Please report it, with these differences."
        return
    for file in fix.files:
        yield f"\n# {'Written: ' if written else ''}{file.name}.py"
        if not written:
            yield file.source


def _proof_lines(proof: Proof) -> Iterator[str]:
    words = {True: "equal", False: "NOT EQUAL"}
    yield (
        f"Schema {words[proof.schema_equal]}, models {words[proof.state_equal]}, rows "
        f"{words[proof.rows_equal]}; "
        + ("reversible as before." if proof.reversible else "NOT REVERSIBLE as before.")
    )
    yield (
        f"Dangers: {proof.dangers_before} before, {proof.dangers_after} after. The longest block: "
        f"{duration(proof.blocked_ms_before)} before, {duration(proof.blocked_ms_after)} after. "
        f"Breaks of running code: {proof.running_code_breaks_before} before, "
        f"{proof.running_code_breaks_after} after."
    )
    if proof.not_compared:
        yield (
            f"Not compared, since the original writes other values each time: "
            f"{listed(proof.not_compared)}."
        )
    for each in proof.differences:
        yield f"  {each}"
