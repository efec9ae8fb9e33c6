"""``manage.py migrate_dryrun``: parse, call, print."""

from __future__ import annotations

import logging
import signal
import sys
import threading
from argparse import ArgumentParser
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from functools import partial
from typing import Any

import psycopg
from django.core.exceptions import ImproperlyConfigured
from django.core.management.base import (
    BaseCommand,
    CommandError,
    SystemCheckError,
    no_translations,
)
from django.db import Error, connections
from django.db.backends.base.base import BaseDatabaseWrapper

from django_confiture import conf, signals
from django_confiture.dry_run.clone.database import cloned
from django_confiture.dry_run.clone_rehearsal import clone_rehearsal, with_clone
from django_confiture.dry_run.judge import Known
from django_confiture.dry_run.migrate import migrate_with
from django_confiture.dry_run.migration_executor import executor_of
from django_confiture.dry_run.plan.git_base import Since
from django_confiture.dry_run.plan.refusals import SETTINGS_ERRORS, refuse_open_transaction
from django_confiture.dry_run.rehearsal import Rehearsal
from django_confiture.dry_run.results import Report, ReverseResult
from django_confiture.dry_run.results.budget import judged
from django_confiture.dry_run.reverse import Reversal
from django_confiture.dry_run.transaction_rehearsal import transaction_rehearsal
from django_confiture.exceptions import (
    DryRunRefused,
    DryRunStopped,
    HookLookupError,
    StatsError,
)
from django_confiture.formatting import one_line
from django_confiture.history.past_runs import last_dry_run, past_errors
from django_confiture.management import arguments, budget, report_files
from django_confiture.management.exit_codes import USAGE, exit_code
from django_confiture.management.progress import Progress
from django_confiture.production import ProductionStats, collect, load
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
        """Take the arguments of ``migrate`` that choose the plan, and those of the report."""
        arguments.add_arguments(parser)
        report_files.add_arguments(parser)
        budget.add_arguments(parser)

    @no_translations
    def handle(self, *_args: object, **options: Any) -> None:
        """Rehearse, print the report, and end with its exit code."""
        self._verbosity = options["verbosity"]
        self._interrupted: int | None = None
        self._progress = Progress(self.stderr, self._verbosity)
        misplaced = report_files.misplaced(report_files.files_of(options))
        if wrong := arguments.refused_flag(options) or misplaced:
            raise CommandError(wrong, returncode=USAGE)
        try:
            self._budget = budget.budget_of(options)
            self._since = Since(options["since"]) if options["since"] else None
            # A migration's print() must not spoil the report, which has the hooks' errors in it.
            with redirect_stdout(sys.stderr), _without_tracebacks(), self._progress.shown():
                report = self._rehearse(options)
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
        if self._since is not None:
            report = self._since.marked(report)
        report = judged(report, self._budget)
        self._print(report, options)
        _send_finished(report, shows_values=options["show_values"])
        if self._interrupted is not None:
            sys.exit(128 + self._interrupted)
        if code := exit_code(report):
            sys.exit(code)

    def _rehearse(self, options: dict[str, Any]) -> Report:
        alias = options["database"]
        wrapper, source = _connected(alias, options["clone_of"] or alias)
        if not options["skip_checks"]:
            self.check(databases=None if options["clone_of"] else [alias])
        if not options["samples"]:  # samples add their own time
            self._progress.last = last_dry_run(alias)
        told: dict[str, Any] = {
            "known": Known(_production_stats(options), past_errors(alias)),
            "choose": self._since.chosen if self._since is not None else None,
            "show_values": options["show_values"],
            "running_code": options["running_code"] and conf.get("DRY_RUN")["RUNNING_CODE"],
            "observer": self._progress,
        }
        with self._terminable():
            if options["clone"] or options["clone_of"]:
                if options["samples"]:
                    raise DryRunRefused(
                        "--samples needs the transaction that is rolled back; leave out --clone."
                    )
                return self._on_a_copy(wrapper, source, told, options)
            refuse_open_transaction(wrapper)
            rehearsal = transaction_rehearsal(
                wrapper,
                watched=options["watchdog"],
                allow_dead_space=options["allow_dead_space"],
                samples=options["samples"],
                **told,
            )
            return self._report_of(rehearsal, wrapper, options)

    def _on_a_copy(
        self,
        wrapper: BaseDatabaseWrapper,
        source: BaseDatabaseWrapper,
        told: dict[str, Any],
        options: dict[str, Any],
    ) -> Report:
        report: Report | None = None
        try:
            with cloned(wrapper, source, say=self._progress.say) as clone:
                rehearsal = clone_rehearsal(wrapper, clone, **told)
                report = self._report_of(rehearsal, wrapper, options)
        except KeyboardInterrupt:
            self._interrupted = self._interrupted or signal.SIGINT
            if report is None:
                self._progress.say("Stopped before any migration ran.")
                sys.exit(128 + self._interrupted)
        return with_clone(report, clone)

    def _report_of(
        self, rehearsal: Rehearsal, wrapper: BaseDatabaseWrapper, options: dict[str, Any]
    ) -> Report:
        with rehearsal.open():
            known = rehearsal.relation_names
            notes = list(budget.check_tables(self._budget, options, known))
            reverse = self._drive(rehearsal, wrapper, options)
        return rehearsal.report(notes=notes, reverse=reverse)

    def _drive(
        self, rehearsal: Rehearsal, wrapper: BaseDatabaseWrapper, options: dict[str, Any]
    ) -> ReverseResult | None:
        """Migrate, and undo it where that is asked for; note what stops it with the rehearsal."""
        try:
            reversal = Reversal(rehearsal, wrapper) if options["reverse"] else None
            migrate_with(
                partial(executor_of, rehearsal, wrapper.alias),
                using=wrapper.alias,
                target=(options["app_label"], options["migration_name"]),
                verbosity=max(0, self._verbosity - 1),
                fake_initial=options["fake_initial"],
                run_syncdb=options["run_syncdb"],
            )
            if reversal is not None:
                return reversal.run()
        except DryRunStopped as error:
            rehearsal.failed(error)
        except DryRunRefused:
            raise
        except KeyboardInterrupt as error:
            self._interrupted = self._interrupted or signal.SIGINT
            rehearsal.failed(error)
        except SystemExit as error:  # raised by a migration; we don't exit with its code
            rehearsal.failed(error)
        except Exception as error:
            if isinstance(error, (CommandError, *SETTINGS_ERRORS)) and not rehearsal.results:
                raise  # from migrate itself: no such app or migration, conflicts
            rehearsal.failed(error)
        return None

    @contextmanager
    def _terminable(self) -> Iterator[None]:
        """Let SIGTERM end the dry run as Ctrl-C does: roll back, report, exit."""

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

    def _print(self, report: Report, options: dict[str, Any]) -> None:
        for path in report_files.write(report, options):
            self._progress.say(f"Report written to {path}.")
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


def _connected(alias: str, source_alias: str) -> tuple[BaseDatabaseWrapper, BaseDatabaseWrapper]:
    """Return both connections, the one of the source open."""
    wrapper, source = connections[alias], connections[source_alias]
    for each in (wrapper, source):
        if each.vendor != "postgresql":
            raise DryRunRefused(
                f"The database {each.alias!r} is {each.vendor}; a dry run needs PostgreSQL."
            )
    try:
        source.ensure_connection()
    except (Error, psycopg.Error) as error:
        raise CommandError(f"Cannot connect to {source.alias!r}: {one_line(error)}") from error
    return wrapper, source


def _production_stats(options: dict[str, Any]) -> ProductionStats | None:
    if options["stats"] is not None:
        return load(options["stats"])
    if options["stats_from"] is not None:
        return collect(connections[options["stats_from"]])
    return None
