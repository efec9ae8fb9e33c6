"""What the recipes need to know, from a rehearsal of the migration."""

from __future__ import annotations

from django.db import router
from django.db.migrations.migration import Migration

from django_confiture.dry_run.findings.advice.of_operations import works
from django_confiture.dry_run.results import OperationResult
from django_confiture.dry_run.rewriting.facts import Facts
from django_confiture.dry_run.rewriting.known_objects import KnownObjects
from django_confiture.fix.rehearsals.rehearsing import Ending

REFERRED_TO = "23503"
"""The SQLSTATE of a row that others refer to, and that can't be deleted for it."""


def facts_of(
    migration: Migration, operation: OperationResult, ending: Ending, known: KnownObjects
) -> Facts:
    """Return what is known of the database before an operation, and of its statements."""
    assert ending.reached is not None
    results = operation.statements
    locked = {lock.relation.rpartition(".")[2] for each in results for lock in each.locks}
    return Facts(
        migration.app_label,
        partitioned=frozenset(
            each for each in ending.reached.partitioned if each.rpartition(".")[2] in locked
        ),
        partition_indexes=ending.reached.partition_indexes,
        routed=bool(router.routers),
        indexes=known.indexes,
        constraints=known.constraints,
        constraints_before=known.constraints,
        identities=known.identities,
        sequences=known.sequences,
        keys=known.keys,
        partitions=known.partitions,
        required=known.required,
        plain=known.plain,
        not_null=known.not_null,
        defaults=known.defaults,
        comments=known.comments,
        types=known.types,
        row_security=known.row_security,
        counting={**known.counting, **ending.reached.counting},
        own_functions=known.own_functions | ending.reached.own_functions,
        undeletable=_undeletable(ending),
        cascades=ending.reached.cascades,
        working=frozenset(each.sql for each in results if each.sql and works(each)),
        rewriting=frozenset(each.sql for each in results if each.sql and each.rewrites),
    )


def _undeletable(ending: Ending) -> frozenset[str]:
    """Return the tables whose rows running code can't delete, for others that refer to them."""
    return frozenset(
        each.table.rpartition(".")[2]
        for each in ending.report.deploy.old_code
        if each.action == "delete" and each.sqlstate == REFERRED_TO
    )
