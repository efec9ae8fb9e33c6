"""``manage.py confiture_history_prune``: delete old rows of the ledger."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand
from django.db import connections, router
from django.utils import timezone

from django_confiture.database_errors import could_not_start
from django_confiture.duration_argument import duration_like
from django_confiture.history import ledger
from django_confiture.history.management.commands import LEDGER
from django_confiture.history.models import MigrationExecution


class Command(BaseCommand):
    """Delete the oldest rows of the ledger."""

    help = (
        "Deletes executions and dry runs that are older than the given time. The hash chains then "
        "begin after them, and still reveal every other change. Exit codes: 0 done, 2 an argument "
        "is wrong, or the database is out of reach."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Add the age from which rows are deleted."""
        parser.add_argument(
            "--older-than",
            type=duration_like("90d"),
            required=True,
            help="Such as 90d: a number and a unit.",
        )

    def handle(self, *_args: object, **options: Any) -> None:
        """Delete, then say how many."""
        before = timezone.now() - options["older_than"]
        using = router.db_for_write(MigrationExecution)
        with could_not_start(connections[using], **LEDGER):
            executions, dry_runs = ledger.prune(before, using=using)
        self.stdout.write(
            f"Deleted {_count(executions, 'execution')} and {_count(dry_runs, 'dry run')}."
        )


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"
