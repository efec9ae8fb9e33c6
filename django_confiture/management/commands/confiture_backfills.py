"""``manage.py confiture_backfills``: what backfills there are, how far they are, and what to do."""

from __future__ import annotations

import json
from argparse import ArgumentParser
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from django.apps import apps
from django.core.exceptions import ImproperlyConfigured
from django.core.management.base import BaseCommand, CommandError
from django.core.serializers.json import DjangoJSONEncoder
from django.db import (
    DEFAULT_DB_ALIAS,
    InterfaceError,
    OperationalError,
    ProgrammingError,
    connections,
)

from django_confiture.database_errors import database_failure, refuse_other_database
from django_confiture.exceptions import BackfillError
from django_confiture.formatting import one_line
from django_confiture.management import backfill_table, exit_codes
from django_confiture.management.reserved_stdout import reserved_stdout

if TYPE_CHECKING:
    from django_confiture.backfills.status import BackfillStatus

ACTIONS = ("list", "run", "start", "pause", "resume", "cancel", "retry")


class Command(BaseCommand):
    """List backfills, or act on one."""

    help = (
        "Lists backfills and how far they are. run: works in this process until the backfill is "
        "complete; start: hands it to Django's Tasks framework; pause, resume, cancel, retry. "
        "Exit codes: 0 done, 1 the backfill is not complete, 2 could not start."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Add the action, the backfill, and what to print."""
        parser.add_argument(
            "action", nargs="?", default="list", choices=ACTIONS, help="list by default."
        )
        parser.add_argument(
            "name",
            nargs="?",
            metavar="NAME",
            help="The dotted path of the class, such as shop.backfills.FillSearchText.",
        )
        parser.add_argument(
            "--database",
            choices=tuple(connections),
            help="The database of the rows; by default where the routers write the model to.",
        )
        parser.add_argument("--format", default="text", choices=("text", "json"))
        parser.add_argument(
            "--watch", action="store_true", help="Show it until nothing is under way any more."
        )

    def handle(self, *_args: object, **options: Any) -> None:
        """Act, then print."""
        if not apps.is_installed("django_confiture.backfills"):
            raise _usage('Add "django_confiture.backfills" to INSTALLED_APPS, then migrate.')
        action, name = options["action"], options["name"]
        if action != "list" and name is None:
            raise _usage(f"Which one? manage.py confiture_backfills {action} NAME")
        try:
            using = options["database"] or _database_of(name)
            refuse_other_database(connections[using], "a backfill")
            self._act(action, name, using, options)
        except (BackfillError, ImproperlyConfigured) as error:
            raise _usage(str(error)) from error
        except (OperationalError, InterfaceError) as error:
            if action != "run":
                raise _usage(_failure(using, error)) from error
            again = f"What is done is done; the same command goes on: {action} {name}"
            why = f"The database {using!r} did not answer: {one_line(error)} {again}"
            raise CommandError(why, returncode=exit_codes.FAILED) from error
        except ProgrammingError as error:
            if "confiture_backfills_" not in str(error):
                raise
            raise _usage(_failure(using, error)) from error

    def _act(self, action: str, name: str | None, using: str, options: dict[str, Any]) -> None:
        from django_confiture.backfills import control, events

        ended_as = ""
        if name is not None and action == "run":
            ended_as = self._work_until_ended(name, using)
        elif name is not None and action != "list":
            said = control.perform(action, name, using=using, actor=events.os_actor())
            if options["format"] == "text":
                self.stdout.write(said)
        if options["watch"]:
            backfill_table.watch(lambda: _statuses(using, name), self.stdout, goes_on=_is_under_way)
        self._show(_statuses(using, name), options["format"], listing=action == "list")
        if name is not None and ended_as not in ("", "completed"):
            (status,) = _statuses(using, name)
            why = status.last_error or f"It is {ended_as}."
            raise CommandError(f"{name} is not complete. {why}", returncode=exit_codes.FAILED)

    def _work_until_ended(self, name: str, using: str) -> str:
        """Work until it has ended; return how, as another process may begin it again at once."""
        from django_confiture.backfills import events
        from django_confiture.backfills.in_process import run_here

        shown: Any = nullcontext()
        if not connections[using].in_atomic_block:  # another connection would see nothing
            shown = backfill_table.watched(lambda: _statuses(using, name), self.stderr, using=using)
        with shown, reserved_stdout():
            return run_here(name, using=using, actor=events.os_actor()).value

    def _show(self, found: Sequence[BackfillStatus], style: str, *, listing: bool) -> None:
        if style == "json":
            rows = [asdict(each) for each in found]
            self.stdout.write(json.dumps(rows, cls=DjangoJSONEncoder, indent=2))
        elif listing and not found:
            self.stdout.write(_how_to_begin())
        elif self.stdout.isatty():
            backfill_table.console_of(self.stdout).print(backfill_table.table(found))
        else:
            for each in found:
                self.stdout.write(backfill_table.line(each))


def _usage(text: str) -> CommandError:
    return CommandError(text, returncode=exit_codes.USAGE)


def _how_to_begin() -> str:
    from django_confiture.backfills.declared.declaration import declared_backfills

    run = "manage.py confiture_backfills run NAME"
    if names := sorted(declared_backfills()):
        return "\n  ".join([f"No backfill was started. Run one with: {run}", *names])
    return f"No backfill was started. Declare one in <app>/backfills.py, then: {run}"


def _failure(using: str, error: Exception) -> str:
    return database_failure(
        connections[using], error, "read the backfills of", app_label="confiture_backfills"
    )


def _is_under_way(status: BackfillStatus) -> bool:
    return status.state in ("queued", "running")


def _statuses(using: str, name: str | None) -> list[BackfillStatus]:
    from django_confiture.backfills.status import statuses

    found = statuses(using, None if name is None else [name])
    if name is not None and not found:
        raise BackfillError(f"{name} was never started; use start, or run.")
    return found


def _database_of(name: str | None) -> str:
    from django_confiture.backfills.declared.declaration import database_of, load_backfill

    return DEFAULT_DB_ALIAS if name is None else database_of(load_backfill(name))
