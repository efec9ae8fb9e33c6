"""``manage.py confiture_history_verify``: find changes made to the ledger afterwards."""

from __future__ import annotations

import sys
from typing import Any

from django.core.management.base import BaseCommand
from django.db import connections, router

from django_confiture.database_errors import could_not_start
from django_confiture.history import hash_chain
from django_confiture.history.management.commands import LEDGER
from django_confiture.history.models import MigrationExecution


class Command(BaseCommand):
    """Verify the hash chains."""

    help = (
        "Prints which rows of the migration history were edited or deleted. Exit codes: 0 none, "
        "1 some, 2 the database is out of reach."
    )
    requires_system_checks = ()  # their errors would end with 1, too

    def handle(self, *_args: object, **_options: Any) -> None:
        """Verify, then print."""
        using = router.db_for_read(MigrationExecution)
        with could_not_start(connections[using], **LEDGER):
            problems = hash_chain.verify(using)
        for problem in problems:
            self.stdout.write(f"The ledger was tampered with: {problem.message}.")
        if problems:
            sys.exit(1)
        for ledger in hash_chain.LEDGERS:
            rows: Any = ledger.model._default_manager.using(using)
            last = rows.order_by("number").last()
            found = f"the last is {last.number}, hash {last.hash}" if last else "there are none"
            self.stdout.write(f"The {ledger.name} are unchanged; {found}.")
