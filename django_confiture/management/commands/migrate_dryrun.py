"""``manage.py migrate_dryrun``: parse, call, print."""

from __future__ import annotations

import logging
import shutil
import signal
import sys
import threading
from argparse import ArgumentParser
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from typing import Any

import psycopg
from django.core.exceptions import ImproperlyConfigured
from django.core.management.base import BaseCommand, CommandError, no_translations
from django.db import DEFAULT_DB_ALIAS, DatabaseError, connections

from django_confiture import signals
from django_confiture.dry_run.driver import drive_migrate
from django_confiture.dry_run.records import MigrationRecord
from django_confiture.dry_run.rehearsal import Rehearsal
from django_confiture.dry_run.results import MigrationResult, Report
from django_confiture.dry_run.reverse import Reversal
from django_confiture.exceptions import DryRunRefused
from django_confiture.reports import FORMATS, render

FAILED, USAGE, YIELDED = 1, 2, 4


class Command(BaseCommand):
    """Rehearse the pending migrations, measure them, roll everything back."""

    help = (
        "Runs the pending migrations in a transaction that is always rolled back, and says what "
        "each operation costs and what it blocks. Exit codes: 0 all would apply, 1 a migration "
        "would fail, 2 the dry run could not start or was cut off, 4 it gave way to other "
        "sessions."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Take the arguments of ``migrate`` that choose the plan, and those of the report."""
        parser.add_argument("app_label", nargs="?", help="App label of the migrations to rehearse.")
        parser.add_argument(
            "migration_name",
            nargs="?",
            help='Rehearse up to this migration, or back to it; "zero" unapplies all.',
        )
        parser.add_argument(
            "--database",
            default=DEFAULT_DB_ALIAS,
            choices=tuple(connections),
            help='The database to rehearse on; "default" by default.',
        )
        parser.add_argument(
            "--format", default="text", choices=tuple(FORMATS), help="The report's format."
        )
        parser.add_argument(
            "--no-watchdog",
            action="store_false",
            dest="watchdog",
            help="Run without the second connection that ends the dry run when others wait for it.",
        )
        parser.add_argument(
            "--reverse",
            action="store_true",
            help="Then undo the plan, too, and compare the schema with the one before.",
        )
        parser.add_argument("--output", type=Path, help="Write the report to this file.")

    @no_translations
    def handle(self, *_args: object, **options: Any) -> None:
        """Rehearse, print the report, and end with its exit code."""
        self._verbosity = options["verbosity"]
        self._interrupted: int | None = None
        _check_output(options["output"])
        try:
            # A migration's print() must not spoil the report, which has the hooks' errors in it.
            with redirect_stdout(sys.stderr), _without_tracebacks():
                report = self._rehearse(options)
        except (DryRunRefused, ImproperlyConfigured) as error:
            raise CommandError(str(error), returncode=USAGE) from error
        except CommandError as error:
            raise CommandError(str(error), returncode=USAGE) from error
        self._print(report, options)
        signals.dry_run_finished.send_robust(
            sender=signals.sender_for("django_confiture"),
            using=report.database.alias,
            report=report,
        )
        if self._interrupted is not None:
            sys.exit(128 + self._interrupted)
        if code := _exit_code(report):
            sys.exit(code)

    def _rehearse(self, options: dict[str, Any]) -> Report:
        alias = options["database"]
        wrapper = connections[alias]
        if wrapper.vendor != "postgresql":
            raise DryRunRefused(
                f"The database {alias!r} is {wrapper.vendor}; a dry run needs PostgreSQL."
            )
        try:
            wrapper.ensure_connection()
        except (DatabaseError, psycopg.Error) as error:
            raise CommandError(f"Cannot connect to {alias!r}: {_one_line(error)}") from error
        rehearsal = Rehearsal(
            wrapper,
            watched=options["watchdog"],
            started=self._started,
            finished=self._finished,
        )
        with self._terminable(), rehearsal.open():
            try:
                reversal = Reversal(rehearsal, wrapper) if options["reverse"] else None
                drive_migrate(
                    rehearsal,
                    using=alias,
                    app_label=options["app_label"],
                    migration_name=options["migration_name"],
                    verbosity=self._verbosity,
                )
                if reversal is not None:
                    reversal.run()
            except DryRunRefused:
                raise
            except KeyboardInterrupt as error:
                self._interrupted = self._interrupted or signal.SIGINT
                rehearsal.failed(error)
            except SystemExit as error:  # of a migration; its code must not become ours
                rehearsal.failed(error)
            except Exception as error:
                if isinstance(error, CommandError) and not rehearsal.results:
                    raise  # of migrate's own: no such app, no such migration, conflicts
                rehearsal.failed(error)
        return rehearsal.report()

    @contextmanager
    def _terminable(self) -> Iterator[None]:
        """Let SIGTERM end the dry run as Ctrl-C does: roll back, report, go."""

        def interrupt(number: int, _frame: object) -> None:
            self._interrupted = number
            raise KeyboardInterrupt

        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = signal.signal(signal.SIGTERM, interrupt)
        try:
            yield
        finally:
            signal.signal(signal.SIGTERM, before)

    def _started(self, record: MigrationRecord) -> None:
        if self._verbosity >= 1:
            backwards = " (backwards)" if record.direction == "backward" else ""
            self.stderr.write(
                f"  Rehearsing {record.migration}{backwards}...", self._plain, ending=""
            )
            self.stderr.flush()

    def _finished(self, result: MigrationResult) -> None:
        if self._verbosity >= 1:
            self.stderr.write(f" {result.outcome}", self._plain)

    @staticmethod
    def _plain(text: str) -> str:
        return text  # stderr's own style is that of errors

    def _print(self, report: Report, options: dict[str, Any]) -> None:
        output: Path | None = options["output"]
        nothing = not report.migrations and report.error is None
        if nothing and options["format"] == "text" and output is None:
            self.stdout.write("No migrations to rehearse.")
            return
        rendered = render(
            report,
            options["format"],
            color=output is None and bool(self.style.SUCCESS("x") != "x"),
            width=min(shutil.get_terminal_size().columns, 100) if self.stdout.isatty() else 80,
            verbosity=self._verbosity,
        )
        if output is None:
            encoding = getattr(self.stdout, "encoding", None) or "utf-8"
            printable = rendered.encode(encoding, "backslashreplace").decode(encoding)
            self.stdout.write(printable, ending="")
            return
        try:
            output.write_text(rendered, encoding="utf-8")
        except OSError as error:
            raise CommandError(
                f"Cannot write {output}: {error.strerror}", returncode=USAGE
            ) from error
        self.stderr.write(f"Report written to {output}.", self._plain)


@contextmanager
def _without_tracebacks() -> Iterator[None]:
    """Keep Python from printing the errors of hooks where no logging is configured."""
    handler = logging.NullHandler()
    logger = logging.getLogger("django_confiture")
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)


def _exit_code(report: Report) -> int:
    if report.outcome == "yielded":
        return YIELDED
    if report.outcome != "failed":
        return 0 if report.reverse is None or report.reverse.outcome == "same" else FAILED
    stopped = any(m.outcome == "not_run" and m.error is not None for m in report.migrations)
    return USAGE if stopped else FAILED


def _check_output(output: Path | None) -> None:
    """Fail before the dry run, not after it, where the report has no place to go."""
    if output is not None and output.is_dir():
        raise CommandError(f"--output {output}: that is a directory.", returncode=USAGE)
    if output is not None and not output.resolve().parent.is_dir():
        raise CommandError(
            f"--output {output}: there is no directory {output.parent}.", returncode=USAGE
        )


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split())
