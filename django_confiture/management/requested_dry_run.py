"""One dry run with the options of ``migrate_dryrun``: in a transaction or on a clone."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import psycopg
from django.core.management.base import CommandError
from django.db import Error, connections

from django_confiture.database_errors import refuse_other_database
from django_confiture.dry_run.clone.database import cloned
from django_confiture.dry_run.clone_rehearsal import clone_rehearsal, with_clone
from django_confiture.dry_run.judge import Known
from django_confiture.dry_run.migrate import migrate_with
from django_confiture.dry_run.migration_executor import executor_of
from django_confiture.dry_run.plan.refusals import SETTINGS_ERRORS, refuse_open_transaction
from django_confiture.dry_run.reverse import Reversal
from django_confiture.dry_run.transaction_rehearsal import transaction_rehearsal
from django_confiture.exceptions import DryRunRefused, DryRunStopped, HookRefusal
from django_confiture.formatting import one_line
from django_confiture.history.past_runs import last_dry_run, past_errors
from django_confiture.management import budget
from django_confiture.management.plan_names import refuse_unknown
from django_confiture.migration_files import file_error, loading_migrations
from django_confiture.production import ProductionStats, collect, load

if TYPE_CHECKING:
    from django.db.backends.base.base import BaseDatabaseWrapper

    from django_confiture.dry_run.plan.git_base import Since
    from django_confiture.dry_run.rehearsal import Rehearsal
    from django_confiture.dry_run.results import Report, ReverseResult
    from django_confiture.dry_run.results.budget import Budget
    from django_confiture.dry_run.settings import DryRunSettings
    from django_confiture.management.interruption import Interruption
    from django_confiture.management.progress import Progress


@dataclass(frozen=True)
class RequestedDryRun:
    """A dry run with the options of the command."""

    options: Mapping[str, Any]
    settings: DryRunSettings
    budget: Budget
    since: Since | None
    progress: Progress
    interruption: Interruption

    def report(self, check: Callable[[list[str] | None], None]) -> Report:
        """Rehearse, and return the report; ``check`` runs system checks on databases."""
        options, alias = self.options, self.options["database"]
        with loading_migrations():
            refuse_unknown(options["app_label"], options["migration_name"])
        wrapper, source = _connected(alias, options["clone_of"] or alias)
        if not options["skip_checks"]:
            check(None if options["clone_of"] else [alias])
        if not options["samples"]:  # samples add their own time
            self.progress.last = last_dry_run(alias)
        told: dict[str, Any] = {
            "known": Known(
                _production_stats(options), past_errors(alias), self.settings.calibration_file()
            ),
            "choose": self.since.chosen if self.since is not None else None,
            "show_values": options["show_values"],
            "running_code": options["running_code"] and self.settings.running_code,
            "observer": self.progress,
        }
        with self.interruption.terminable():
            if options["clone"] or options["clone_of"]:
                return self._on_a_clone(wrapper, source, told)
            return self._in_a_transaction(wrapper, told)

    def _in_a_transaction(self, wrapper: BaseDatabaseWrapper, told: dict[str, Any]) -> Report:
        refuse_open_transaction(wrapper)
        settings = self.settings
        if not self.options["watchdog"]:
            settings = replace(settings, yield_after=None)
        if self.options["allow_dead_space"]:
            settings = replace(settings, max_dead_space=None)
        rehearsal = transaction_rehearsal(
            wrapper,
            settings=settings,
            samples=self.options["samples"],
            **told,
        )
        return self._driven(rehearsal, wrapper)

    def _on_a_clone(
        self, wrapper: BaseDatabaseWrapper, source: BaseDatabaseWrapper, told: dict[str, Any]
    ) -> Report:
        report: Report | None = None
        try:
            with cloned(wrapper, source, say=self.progress.say) as clone:
                report = self._driven(
                    clone_rehearsal(wrapper, clone, settings=self.settings, **told), wrapper
                )
        except KeyboardInterrupt:
            code = self.interruption.caught()
            if report is None:
                self.progress.say("Stopped before any migration ran.")
                sys.exit(code)
        return with_clone(report, clone)

    def _driven(self, rehearsal: Rehearsal, wrapper: BaseDatabaseWrapper) -> Report:
        with rehearsal.open():
            known = rehearsal.relation_names
            notes = list(budget.check_tables(self.budget, self.options, known))
            reverse = self._drive(rehearsal, wrapper)
        return rehearsal.report(notes=notes, reverse=reverse)

    def _drive(self, rehearsal: Rehearsal, wrapper: BaseDatabaseWrapper) -> ReverseResult | None:
        """Migrate, and undo it where that is asked for; note what stops it with the rehearsal."""
        try:
            return self._migrate(rehearsal, wrapper)
        except DryRunStopped as error:
            rehearsal.failed(error)
        except DryRunRefused:
            raise
        except KeyboardInterrupt as error:
            self.interruption.caught()
            rehearsal.failed(error)
        except BaseException as error:  # SystemExit as well: a migration's ends its migrate
            if (said := file_error(error)) and not rehearsal.results:
                raise CommandError(said) from error
            refused = isinstance(error, (CommandError, *SETTINGS_ERRORS))
            if refused and not isinstance(error, HookRefusal) and not rehearsal.results:
                raise  # from migrate itself: no such app or migration, conflicts
            rehearsal.failed(error)
        return None

    def _migrate(self, rehearsal: Rehearsal, wrapper: BaseDatabaseWrapper) -> ReverseResult | None:
        options = self.options
        reversal = Reversal(rehearsal, wrapper) if options["reverse"] else None
        migrate_with(
            partial(executor_of, rehearsal, wrapper.alias),
            using=wrapper.alias,
            target=(options["app_label"], options["migration_name"]),
            verbosity=max(0, options["verbosity"] - 1),
            fake_initial=options["fake_initial"],
            run_syncdb=options["run_syncdb"],
        )
        return reversal.run() if reversal is not None else None


def _connected(alias: str, source_alias: str) -> tuple[BaseDatabaseWrapper, BaseDatabaseWrapper]:
    """Return both connections, the one of the source open."""
    wrapper, source = connections[alias], connections[source_alias]
    for each in (wrapper, source):
        refuse_other_database(each, "a dry run")
    try:
        source.ensure_connection()
    except (Error, psycopg.Error) as error:
        raise CommandError(f"Cannot connect to {source.alias!r}: {one_line(error)}") from error
    return wrapper, source


def _production_stats(options: Mapping[str, Any]) -> ProductionStats | None:
    if options["stats"] is not None:
        return load(options["stats"])
    if options["stats_from"] is not None:
        return collect(connections[options["stats_from"]])
    return None
