"""``manage.py confiture_fix``: pending migrations, rewritten so that others can work, proven."""

from __future__ import annotations

import json
from argparse import ArgumentParser
from collections.abc import Iterator, Sequence
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import django
import psycopg
from django.core.exceptions import ImproperlyConfigured
from django.core.management.base import BaseCommand, CommandError
from django.db import Error, connections
from django.db.migrations.loader import MigrationLoader

from django_confiture.database_errors import database_failure
from django_confiture.dry_run.results.source_location import shown
from django_confiture.dry_run.rewriting.one_file import is_installed, migration_file
from django_confiture.exceptions import DryRunRefused
from django_confiture.fix.files.overriding import CannotOverride, place_of, write_override
from django_confiture.fix.files.writing import WouldOverwrite, write_files
from django_confiture.fix.fixing import fix_migration
from django_confiture.fix.judging.obstacles import AppliedElsewhere
from django_confiture.fix.outcomes import Fix
from django_confiture.formatting import one_line
from django_confiture.history.past_runs import databases_that_applied
from django_confiture.management.database_option import add_database_option
from django_confiture.management.exit_codes import FAILED, UNPROVEN, USAGE
from django_confiture.management.fix_choice import Chosen, chosen
from django_confiture.management.fix_output import (
    document_of,
    lines_of,
    markdown_of,
    reduced_case_of,
    summary_of,
)
from django_confiture.management.fix_review import review_of
from django_confiture.management.reserved_stdout import reserved_stdout
from django_confiture.migration_files import loading_migrations

if TYPE_CHECKING:
    from django.db.backends.base.base import BaseDatabaseWrapper

_NOT_POSSIBLE = (DryRunRefused, ImproperlyConfigured, WouldOverwrite, CannotOverride)


class Command(BaseCommand):
    """Rewrite pending migrations into files that block no one for long, and prove it."""

    help = (
        "Rewrites a pending migration into several files that let others read and write while "
        "they run; the last keeps its name. It proves them by two rehearsals, both rolled back: "
        "schema, models and rows are as with the original. Without --write it prints the files; "
        "without a migration it takes all that are pending and are not of installed packages. "
        "Exit codes: 0 fixed and proven, 1 nothing could be fixed, 2 could not start, 5 the proof "
        "failed, so nothing is written. With --check: 0 nothing to fix, 1 something to fix."
    )

    requires_system_checks = ()  # it reads the migrations and the database

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Add which migrations, and what to do with the files."""
        parser.add_argument("app_label", nargs="?")
        parser.add_argument("migration", nargs="?", help="Its name, or the beginning of it.")
        parser.add_argument(
            "--since",
            metavar="REVISION",
            help="Only what the branch adds to this revision of git, such as origin/main.",
        )
        _add_what_to_do(parser)
        _add_how(parser)

    @loading_migrations()
    def handle(self, *_args: object, **options: Any) -> None:
        """Fix, print, write, and exit with 1 or 5 where there is nothing to write."""
        wrapper = connections[options["database"]]
        try:
            with reserved_stdout():
                found = chosen(
                    wrapper, options["app_label"], options["migration"], options["since"]
                )
                directory = _override(options, found)
                loader = MigrationLoader(wrapper)
                fixes = [self._fix(wrapper, each, options) for each in found]
            if options["write"] and not _exit_code(fixes, check=False):
                _write(found, fixes, directory, loader)
        except _NOT_POSSIBLE as error:
            raise CommandError(one_line(error), returncode=USAGE) from error
        except (Error, psycopg.Error) as error:
            said = database_failure(wrapper, error, "rehearse on")
            raise CommandError(said, returncode=USAGE) from error
        lines = _printed(found, fixes, options)
        if options["reduced_case"]:
            lines = _reduced(fixes, wrapper)
        for line in lines:
            self.stdout.write(line)
        if code := _exit_code(fixes, check=options["check"]):
            raise SystemExit(code)

    def _fix(self, wrapper: BaseDatabaseWrapper, each: Chosen, options: dict[str, Any]) -> Fix:
        if options["verbosity"]:  # a big migration takes minutes
            said = f"  Rehearsing {each.migration} and what it becomes, several times..."
            self.stderr.write(said, str)
        applied = databases_that_applied(*each.key)
        fix = fix_migration(
            wrapper,
            each.key,
            elsewhere=AppliedElsewhere(options["applied_elsewhere"], applied),
            releases=options["releases"],
            overridden=options["override"] is not None,
        )
        return replace(fix, database=wrapper.alias)


def _add_what_to_do(parser: ArgumentParser) -> None:
    """Add what is done with the files."""
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--write", action="store_true", help="Write the files.")
    what.add_argument(
        "--check",
        action="store_true",
        help="Print no file; exit with 1 where something could be fixed, for CI.",
    )
    what.add_argument(
        "--reduced-case",
        action="store_true",
        help="Where a proof failed, print what to report: the statements and the differences, "
        "without names and values.",
    )


def _add_how(parser: ArgumentParser) -> None:
    """Add how the files are made, for which databases, and how they are printed."""
    parser.add_argument(
        "--override",
        metavar="PACKAGE",
        help="For a migration of an installed app: with --write, its app's migrations go into "
        "this new package of the project, such as mysite.shop_migrations, for "
        "MIGRATION_MODULES.",
    )
    parser.add_argument("--format", choices=("text", "json", "markdown", "github"), default="text")
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


def _override(options: dict[str, Any], found: Sequence[Chosen]) -> Path | None:
    """Return the directory of the package that overrides an app's migrations, if one is to."""
    if options["override"] is None:
        return None
    if not options["migration"]:
        said = "--override needs the migration: manage.py confiture_fix APP_LABEL MIGRATION ..."
        raise CommandError(said, returncode=USAGE)
    if not is_installed(found[0].migration):
        said = f"{found[0].migration} is the project's own: it is fixed without --override."
        raise CommandError(said, returncode=USAGE)
    return place_of(options["override"])


def _write(
    found: Sequence[Chosen], fixes: Sequence[Fix], directory: Path | None, loader: MigrationLoader
) -> None:
    """Write the files of all fixes; where a directory is given, an app's other migrations too."""
    for each, fix in zip(found, fixes, strict=True):
        if fix.proof is not None and directory is None:
            write_files(migration_file(each.migration).parent, fix.files)
        elif fix.proof is not None and directory is not None:
            others = [
                other
                for key, other in loader.disk_migrations.items()
                if key[0] == each.key[0] and key != each.key
            ]
            write_override(directory, each.migration, fix.files, others)


def _reduced(fixes: Sequence[Fix], wrapper: BaseDatabaseWrapper) -> Iterator[str]:
    server = ".".join(map(str, wrapper.get_database_version()))
    versions = (
        f"django-confiture {version('django-confiture')}",
        f"Django {django.__version__}",
        f"PostgreSQL {server}",
    )
    for each in fixes:
        yield from reduced_case_of(each, versions)


def _exit_code(fixes: Sequence[Fix], *, check: bool) -> int:
    proofs = [each.proof for each in fixes if each.proof is not None]
    if check:
        return FAILED if any(each.holds for each in proofs) else 0
    if not all(each.holds for each in proofs):
        return UNPROVEN
    return 0 if proofs else FAILED


def _printed(
    found: Sequence[Chosen], fixes: Sequence[Fix], options: dict[str, Any]
) -> Iterator[str]:
    if options["format"] == "json":
        documents = [document_of(each) for each in fixes]
        yield json.dumps(documents[0] if options["migration"] else {"fixes": documents}, indent=2)
        return
    if options["format"] == "github":
        paths = [migration_file(each.migration) for each in found]
        yield review_of(zip(fixes, paths, strict=True))
        return
    written = options["write"] and not _exit_code(fixes, check=False)
    for each, fix in zip(found, fixes, strict=True):
        if options["format"] == "markdown":
            yield from markdown_of(fix, shown(migration_file(each.migration)))
        else:
            yield from lines_of(fix, written=written, with_files=not options["check"])
    if written and options["override"]:
        yield (
            f'\nAdd to your settings: MIGRATION_MODULES = {{"{options["app_label"]}": '
            f'"{options["override"]}"}}'
        )
    if not fixes:
        yield "No migration of this project is pending here."
    elif options["format"] == "text" and not options["migration"]:
        yield summary_of(fixes, written=written)
