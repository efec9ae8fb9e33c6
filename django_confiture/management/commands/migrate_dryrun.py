"""``manage.py migrate_dryrun``: parse, call, print."""

from __future__ import annotations

import logging
import sys
from argparse import ArgumentParser
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
from django.core.exceptions import ImproperlyConfigured
from django.core.management.base import (
    BaseCommand,
    CommandError,
    SystemCheckError,
    no_translations,
)
from django.db import Error

from django_confiture.management.garbage import rarely_collected

with rarely_collected():  # a dry run imports much, after what the project has imported
    from django_confiture import signals
    from django_confiture.dry_run.plan.git_base import Since
    from django_confiture.dry_run.results import Report
    from django_confiture.dry_run.results.budget import judged
    from django_confiture.dry_run.settings import dry_run_settings
    from django_confiture.exceptions import DryRunRefused, HookLookupError, StatsError
    from django_confiture.formatting import one_line
    from django_confiture.management import arguments, budget, report_files
    from django_confiture.management.exit_codes import USAGE, exit_code
    from django_confiture.management.interruption import Interruption
    from django_confiture.management.progress import Progress
    from django_confiture.management.requested_dry_run import RequestedDryRun
    from django_confiture.management.reserved_stdout import reserved_stdout
    from django_confiture.reports import render
    from django_confiture.reports.phrases.headline import headline


class Command(BaseCommand):
    """Rehearse the pending migrations, measure them, roll everything back."""

    help = (
        "Runs the pending migrations in a transaction that is always rolled back, and reports what "
        "each operation costs and what it blocks. Exit codes: 0 all would apply, 1 a migration "
        "would fail, 2 the dry run could not start or was cut off, 3 a migration is over the "
        "budget, 4 it gave way to other sessions."
    )
    requires_system_checks = ()  # checked below, to exit with our own code

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Add the arguments that choose the plan, the report and the budget."""
        arguments.add_arguments(parser)
        report_files.add_arguments(parser)
        budget.add_arguments(parser)

    @no_translations
    def handle(self, *_args: object, **options: Any) -> None:
        """Rehearse, print the report, and end with its exit code."""
        misplaced = report_files.misplaced(report_files.files_of(options))
        if wrong := arguments.refused_flag(options) or misplaced:
            raise CommandError(wrong, returncode=USAGE)
        progress = Progress(self.stderr, options["verbosity"])
        interruption = Interruption()
        report = self._report(options, progress, interruption)
        self._print(report, options, progress)
        with reserved_stdout():
            _send_finished(report, shows_values=options["show_values"])
        if code := interruption.exit_code or exit_code(report):
            sys.exit(code)

    def _report(
        self, options: dict[str, Any], progress: Progress, interruption: Interruption
    ) -> Report:
        """Rehearse; whatever keeps the dry run from a report is one line, and exit code 2."""
        try:
            settings = dry_run_settings()
            limits = budget.budget_of(options, settings)
            since = Since(options["since"]) if options["since"] else None
            requested = RequestedDryRun(options, settings, limits, since, progress, interruption)
            with (
                reserved_stdout(),
                _without_tracebacks(),
                progress.shown(),
                rarely_collected(),
            ):
                report = requested.report(lambda aliases: self.check(databases=aliases))
        except (DryRunRefused, ImproperlyConfigured, HookLookupError, StatsError) as error:
            raise CommandError(str(error), returncode=USAGE) from error
        except SystemCheckError as error:
            error.returncode = USAGE
            raise
        except CommandError as error:
            raise CommandError(str(error), returncode=USAGE) from error
        except (Error, psycopg.Error) as error:  # outside of any migration
            raise CommandError(
                f"The database ended the dry run: {one_line(error)}", returncode=USAGE
            ) from error
        return judged(report if since is None else since.marked(report), limits)

    def _print(self, report: Report, options: dict[str, Any], progress: Progress) -> None:
        for path in report_files.write(report, options):
            progress.say(f"Report written to {path}.")
        if options["output"] is None:
            color = bool(self.style.SUCCESS("x") != "x")
            printed = report_files.printed(report, options, self.stdout, color=color)
            self.stdout.write(printed, ending="")


@contextmanager
def _without_tracebacks() -> Iterator[None]:
    """Keep Python from printing the errors of hooks if no logging is configured."""
    handler = logging.NullHandler()
    logger = logging.getLogger("django_confiture")
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)


def _send_finished(report: Report, *, shows_values: bool) -> None:
    """Send the report, and its renderings: receivers don't import the reports."""
    sender = signals.sender_for("django_confiture")
    if signals.dry_run_finished.has_listeners(sender):  # else don't render it
        signals.dry_run_finished.send_robust(
            sender,
            using=report.database.alias,
            report=report,
            report_json=render(report, "json"),
            headline=headline(report),
            verdict=report.verdict,
            shows_values=shows_values,
        )
